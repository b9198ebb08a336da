"""What must not stop the watch: ``python benchmarks/attacks/watcher.py [--seconds 15]``.

A catalogue (Parquet, then CSV) is cut short, grown, filled with noise and made whole in place, again and again, while a server
reads it; then pipes stand where ``manifest.json``, ``rules.json`` and ``labels.json`` belong. Each time a key is removed and the
server is told to end. Exit code 1 if a request failed, a worker died, the removed key was still answered after ten seconds, or
SIGTERM did not end the server.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from under_attack import PREDICT, Server, as_json, children_of, new_key, options_of, put_shop, serving, table

Rows = list[tuple[str, object]]
PATIENCE = 10.0
"""Seconds in which a removed key must be refused, and a server must end"""


def main() -> None:
    """Attack the watch with a catalogue of each kind, and with pipes; print what came of it."""
    options = options_of(__doc__, seconds=15)
    rows: Rows = []
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, products = put_shop(folder / "models", python=options.python)
        for kind in ("parquet", "csv"):
            bad += rewrite(folder, folder / f"catalogue.{kind}", products, options, rows)
        bad += put_pipes(folder, products, options, rows)
    print(table(rows))
    raise SystemExit(bad > 0)


def rewrite(folder: Path, file: Path, products: list, options: argparse.Namespace, rows: Rows) -> int:
    """Rewrite a catalogue in place without a pause."""
    import polars as pl

    frame = pl.DataFrame({"product_id": products, "name": [f"name {one} " * 50 for one in products]})
    frame.write_parquet(file) if file.suffix == ".parquet" else frame.write_csv(file)
    whole = file.read_bytes()
    statuses = Counter[int]()
    with guarded(folder, options, "--catalogue", file) as (server, key, name):
        workers = workers_of(server)
        end = threading.Event()
        writer = threading.Thread(target=spoil, args=(file, whole, end))
        writer.start()
        last = time.monotonic() + options.seconds
        while time.monotonic() < last:
            statuses[ask(server, key, products)] += 1
        refused = remove(server, options, folder, key, name, products)
        end.set()
        writer.join()
        died = len(workers - workers_of(server))
        ended = terminate(server)
    what = f"a {file.suffix[1:]} catalogue rewritten in place, {options.seconds} s, {sum(statuses.values()):,} requests"
    failed = sum(count for status, count in statuses.items() if status != 200)
    rows.append((what, f"{failed} failed, {died} processes died; {told(refused, ended)}"))
    return failed + died + (refused is None) + (ended is None)


def workers_of(server: Server) -> set[int]:
    """Return the processes that answer: forks of the first, which have its arguments."""
    own = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    found = set()
    for number in children_of(server.process.pid):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{number}/comm").read_text().strip()
            if Path(f"/proc/{number}/cmdline").read_bytes() == own and name != "tryout":
                found.add(number)
    return found


def spoil(file: Path, whole: bytes, end: threading.Event) -> None:
    """Cut a file, grow it, fill it with noise and make it whole, always the same inode."""
    draw = random.Random(1)
    for turn in itertools.count():
        if end.is_set():
            return
        with file.open("r+b") as writing:
            kind = turn % 5
            if kind == 0:
                writing.truncate(draw.randrange(len(whole)))
            elif kind == 1:
                writing.seek(draw.randrange(len(whole)))
                writing.write(draw.randbytes(200))
            elif kind == 2:
                writing.write(bytes(len(whole)))
            elif kind == 3:
                writing.seek(0, os.SEEK_END)
                writing.write(draw.randbytes(5_000))
            else:
                writing.write(whole)
                writing.truncate()
        time.sleep(draw.uniform(0, 0.1))


def put_pipes(folder: Path, products: list, options: argparse.Namespace, rows: Rows) -> int:
    """Put a pipe in the place of each file that is watched."""
    model = folder / "models" / "recommender"
    places = {"manifest.json": model / "2", "rules.json": model, "labels.json": model}
    bad = 0
    for pipe, place in places.items():
        with guarded(folder, options) as (server, key, name):
            place.mkdir(exist_ok=True)
            os.mkfifo(place / pipe)
            time.sleep(1.0)
            refused = remove(server, options, folder, key, name, products)
            ended = terminate(server)
        (place / pipe).unlink()
        rows.append((f"a pipe named `{pipe}`", told(refused, ended)))
        bad += (refused is None) + (ended is None)
    return bad


class guarded:  # noqa: N801  (used as a function)
    """A server with two keys: ``with guarded(...) as (server, key, name of the key)``."""

    def __init__(self, folder: Path, options: argparse.Namespace, *more: object) -> None:
        keys = folder / "keys.json"
        keys.unlink(missing_ok=True)
        new_key(options.python, keys)
        self._key = new_key(options.python, keys)
        given = ("--keys", keys, "--poll", 0.1, "--workers", 2, "--quiet", *more)
        self._serving = serving(options.python, folder / "models", folder / "log", *given)

    def __enter__(self) -> tuple[Server, str, str]:
        return self._serving.__enter__(), self._key, self._key.split("_")[2]

    def __exit__(self, *error: object) -> None:
        self._serving.__exit__(None, None, None)


def ask(server: Server, key: str, products: list) -> int:
    """Return the status of one list, 0 where none came."""
    try:
        return server.ask("POST", PREDICT, as_json({"inputs": products[0]}), X_API_Key=key, timeout=20)[0]
    except OSError:
        return 0


def remove(
    server: Server, options: argparse.Namespace, folder: Path, key: str, name: str, products: list
) -> float | None:
    """Remove a key; return after how many seconds no worker answered it any more."""
    command = [options.python, "-m", "tastemaker", "key", "remove", name, "--keys", str(folder / "keys.json")]
    subprocess.run(command, check=True, capture_output=True)
    began = time.monotonic()
    answered = began
    while (now := time.monotonic()) < began + PATIENCE:
        if ask(server, key, products) == 200:
            answered = now
        if now > answered + 2:
            return answered - began
    return None


def terminate(server: Server) -> float | None:
    """Send SIGTERM; return after how many seconds the server had ended."""
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        server.process.kill()
        return None
    return time.monotonic() - began


def told(refused: float | None, ended: float | None) -> str:
    """Return what came of the removed key and of SIGTERM."""
    key = (
        "a removed key was answered for 10 s"
        if refused is None
        else f"a removed key was refused after {refused:.1f} s"
    )
    end = "SIGTERM did not end it in 10 s" if ended is None else f"SIGTERM ended it after {ended:.1f} s"
    return f"{key}; {end}"


if __name__ == "__main__":
    main()
