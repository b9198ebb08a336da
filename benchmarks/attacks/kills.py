"""Processes that are killed with SIGKILL: ``python benchmarks/attacks/kills.py [--trainings 110] [--servers 90]``.

``train`` is killed at any moment, half of the times just while it writes: the version is whole or absent, never broken, and a
later ``train`` sweeps what was left. ``promote`` is killed as it writes labels: they name the one version or the other. A server is
killed, workers and all, while clients send purchases: what was acknowledged is kept once, and what was sent again under its
``Idempotency-Key`` is kept once, too. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from under_attack import as_json, children_of, new_key, options_of, put_shop, serving, table

Rows = list[tuple[str, object]]
EVENTS = "/api/v1/events"
BATCH = 5
"""Purchases of one request, which are kept all or not at all"""


def main() -> None:
    """Kill trainings, then servers; print the counts."""
    options = options_of(__doc__, trainings=110, servers=90, promotions=144, clients=4)
    rows: Rows = []
    with tempfile.TemporaryDirectory() as scratch:
        bad = kill_trainings(Path(scratch) / "train", options, rows)
        bad += kill_promotions(Path(scratch) / "promote", options, rows)
        bad += kill_servers(Path(scratch) / "serve", options, rows)
    print(table(rows))
    raise SystemExit(bad > 0)


def kill_trainings(folder: Path, options: argparse.Namespace, rows: Rows) -> int:
    """Kill ``train`` at moments spread over its whole time, and at moments of its writing in turns."""
    import tastemaker as tm

    folder.mkdir()
    draw = random.Random(1)
    lines = {f"u{draw.randrange(3_000)},p{int(1_000 * draw.random() ** 2)}" for _ in range(30_000)}
    (folder / "log.csv").write_text("\n".join(["user_id,product_id", *sorted(lines)]) + "\n")
    began = time.monotonic()
    train(options.python, folder, "whole").wait()
    took = time.monotonic() - began
    expected = tm.load(folder / "whole" / "1").product_vectors.tobytes()
    counts = Counter[str]()
    for turn in range(options.trainings):
        process = train(options.python, folder, "killed")
        writing = turn % 2 == 1
        if writing:
            while process.poll() is None and not written_by(process, folder):
                time.sleep(0.0005)
            time.sleep(draw.uniform(0, 0.03))
        else:
            time.sleep(draw.uniform(0, took))
        writing = written_by(process, folder) and process.poll() is None
        process.kill()
        process.wait()
        counts["while writing"] += writing
        version = folder / "killed" / "1"
        if not version.exists():
            counts["absent"] += 1
            continue
        try:
            counts["whole" if tm.load(version).product_vectors.tobytes() == expected else "broken"] += 1
        except tm.TastemakerError:
            counts["broken"] += 1
        version.rename(folder / f"whole-{turn}")
    code = train(options.python, folder, "killed").wait()
    litter = [path.name for path in (folder / "killed").iterdir() if path.name not in ("1", ".1.lock")]
    said = f"{counts['whole']} whole, {counts['absent']} absent, {counts['broken']} broken"
    what = f"{options.trainings} × `kill -9` of `train`, {counts['while writing']} while it wrote"
    rows += [(what, said), ("litter after the next `train`", litter or "none")]
    return counts["broken"] + bool(litter) + (code != 0)


def written_by(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Return whether a process has a temporary folder there."""
    return any((folder / "killed").glob(f".*-{process.pid}-*"))


def train(python: str, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Begin to train."""
    (folder / name).mkdir(exist_ok=True)
    command = [python, "-m", "tastemaker", "train", folder / "log.csv", "--out", folder / name / "1"]
    command += ["--effort", "quick", "--set", "epochs=1", "--seed", "1"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(list(map(str, command)), stdout=quiet, stderr=quiet)


def kill_promotions(folder: Path, options: argparse.Namespace, rows: Rows) -> int:
    """Kill ``promote`` as it opens the folder's lock, or at any moment; the label is one of the two versions."""
    folder.mkdir()
    put_shop(folder, versions=2, python=options.python)
    model = folder / "recommender"
    began = time.monotonic()
    promote(options.python, model, 1).wait()
    took = time.monotonic() - began
    counts, label = Counter[str](), 1
    draw = random.Random(2)
    for turn in range(options.promotions):
        wanted = 1 + turn % 2
        process = promote(options.python, model, wanted)
        if turn % 3:
            files = Path(f"/proc/{process.pid}/fd")
            while process.poll() is None and not any(map(_leads_to_labels, files.glob("*"))):
                time.sleep(0.0002)
            time.sleep(draw.uniform(0, 0.004))
        else:
            time.sleep(draw.uniform(0, took))
        process.kill()
        process.wait()
        try:
            found = json.loads((model / "labels.json").read_text())["labels"]["stable"]
        except (OSError, ValueError, KeyError):
            counts["torn"] += 1
            continue
        counts["moved" if found == wanted != label else "as before" if found == label else "wrong"] += 1
        label = found
    code = promote(options.python, model, 1).wait()
    litter = [path.name for path in model.iterdir() if ".writing-" in path.name]
    said = f"{counts['moved']} moved, {counts['as before']} as before, {counts['torn'] + counts['wrong']} torn or wrong"
    rows += [
        (f"{options.promotions} × `kill -9` of `promote`", said),
        ("litter after the next `promote`", litter or "none"),
    ]
    return counts["torn"] + counts["wrong"] + bool(litter) + (code != 0)


def _leads_to_labels(file: Path) -> bool:
    """Return whether an open file is one of labels: the lock, or what is being written."""
    try:
        return "labels.json" in os.readlink(file)
    except OSError:
        return False


def promote(python: str, model: Path, version: int) -> subprocess.Popen[bytes]:
    """Begin to move the label ``stable``."""
    command = [python, "-m", "tastemaker", "promote", str(model), str(version)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_servers(folder: Path, options: argparse.Namespace, rows: Rows) -> int:
    """Kill servers of one and two workers under load; send again what had no answer; look at what was kept."""
    folder.mkdir()
    _, products = put_shop(folder / "models", python=options.python)
    key, file = new_key(options.python, folder / "keys.json"), folder / "events.sqlite"
    acknowledged: set[str] = set()
    unanswered: list[str] = []
    again = 0
    draw = random.Random(1)
    for turn in range(options.servers):
        given = ("--keys", folder / "keys.json", "--events", file, "--workers", 1 + turn % 2, "--quiet")
        with serving(options.python, folder / "models", folder / "log", *given) as server:
            for name in unanswered:  # of the server before, whose answer never came
                again += post(server.port, key, name, products) == 200
            unanswered.clear()
            clients = [
                threading.Thread(
                    target=send,
                    args=(server.port, key, f"{turn}-{number}", products, acknowledged, unanswered),
                )
                for number in range(options.clients)
            ]
            for client in clients:
                client.start()
            time.sleep(draw.uniform(0.1, 0.8))
            for number in (server.process.pid, *children_of(server.process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            for client in clients:
                client.join()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        kept = Counter(
            dict(connection.execute("SELECT user, count(*) FROM purchases GROUP BY user").fetchall())
        )
    lost = [name for name in acknowledged if kept[name] != BATCH]
    twice = [name for name, count in kept.items() if count > BATCH]
    parted = [name for name, count in kept.items() if count < BATCH]
    what = f"{options.servers} × `kill -9` of a server under load, {len(acknowledged) * BATCH:,} acknowledged purchases"
    rows.append((what, f"{len(lost) * BATCH} lost, {len(twice)} requests kept twice, {len(parted)} in part"))
    rows.append(
        (
            f"{again} requests without an answer, sent again under their `Idempotency-Key`",
            "each kept once" if not twice else "kept twice",
        )
    )
    return len(lost) + len(twice) + len(parted)


def send(
    port: int, key: str, client: str, products: list, acknowledged: set[str], unanswered: list[str]
) -> None:
    """Send purchases until the server is gone; tell those acknowledged, and the one without an answer."""
    for number in range(100_000):
        name = f"{client}-{number}"
        status = post(port, key, name, products)
        if status == 200:
            acknowledged.add(name)
        else:
            unanswered.append(name)
            return


def post(port: int, key: str, name: str, products: list) -> int:
    """Send one request of purchases; return its status, 0 if none came."""
    bought = [{"user": name, "product": products[place]} for place in range(BATCH)]
    headers = {"X-API-Key": key, "Content-Type": "application/json", "Idempotency-Key": name}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", EVENTS, as_json({"purchases": bought}), headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    main()
