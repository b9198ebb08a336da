"""Terminations and reloads under load: ``python benchmarks/attacks/terminations.py [--terminations 20] [--reloads 20]``.

Clients ask without a pause, half of them on one connection each, half on a new one for each request. A server gets SIGTERM in the
middle of it, again and again; another gets new versions. Exit code 1 if a request that was sent got no whole answer of 200.
A connection that the server refuses was asked nothing, and counts as none.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from under_attack import PREDICT, as_json, options_of, put_shop, serving, table


def main() -> None:
    """Terminate and reload with each number of workers; print the counts."""
    options = options_of(__doc__, terminations=20, reloads=20, seconds=3, clients=4)
    rows: list[tuple[str, object]] = []
    total = Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        users, _ = put_shop(folder / "models", python=options.python)
        for workers in (1, 4):
            found = Counter[str]()
            for turn in range(options.terminations):
                found += terminated(folder, users, workers, turn, options)
            rows.append(
                (f"{options.terminations} terminations, {workers} worker{'s' * (workers > 1)}", said(found))
            )
            total += found
            found = reloaded(folder, users, workers, options)
            rows.append((f"{options.reloads} reloads, {workers} worker{'s' * (workers > 1)}", said(found)))
            total += found
    rows.append(("all", said(total)))
    print(table(rows))
    raise SystemExit(total["answered"] != total.total())


def said(found: Counter[str]) -> str:
    """Return counts as a sentence."""
    lost = {what: count for what, count in found.items() if what != "answered"}
    return f"{found['answered']:,} answered, {sum(lost.values())} lost {lost or ''}".strip()


def terminated(folder: Path, users: list, workers: int, turn: int, options) -> Counter[str]:
    """Serve, ask, send SIGTERM in the middle of it, and count."""
    given = ("--workers", workers, "--quiet")
    with serving(options.python, folder / "models", folder / "log", *given) as server:
        with asked(server.port, users, options.clients) as counts:
            time.sleep(options.seconds * random.Random(turn).uniform(0.5, 1.0))
            os.kill(server.process.pid, signal.SIGTERM)
            code = server.process.wait(timeout=90)
        if code:
            counts["exit code " + str(code)] += 1
        return counts


def reloaded(folder: Path, users: list, workers: int, options) -> Counter[str]:
    """Serve, ask, publish a new version and remove the oldest again and again, and count."""
    models = folder / "models" / "recommender"
    given = ("--workers", workers, "--quiet", "--poll", 0.2)
    with (
        serving(options.python, folder / "models", folder / "log", *given) as server,
        asked(server.port, users, options.clients) as counts,
    ):
        last = max(int(path.name) for path in models.iterdir() if path.name.isdigit())
        for version in range(last + 1, last + 1 + options.reloads):
            shutil.copytree(models / str(version - 1), models / f".{version}")
            (models / f".{version}").rename(models / str(version))
            time.sleep(options.seconds / 2)
            gone = models / str(version - 1)
            gone.rename(models / f".gone-{version}")
            shutil.rmtree(models / f".gone-{version}")
    return counts


class asked:  # noqa: N801  (used as a function)
    """Processes that ask until the end of the block, or until the server has gone."""

    def __init__(self, port: int, users: list, clients: int) -> None:
        self._stop = multiprocessing.Event()
        self._results: multiprocessing.Queue[Counter[str]] = multiprocessing.Queue()
        self._processes = [
            multiprocessing.Process(
                target=ask, args=(port, users, number, self._stop, self._results), daemon=True
            )
            for number in range(clients)
        ]
        self.counts = Counter[str]()

    def __enter__(self) -> Counter[str]:
        for process in self._processes:
            process.start()
        return self.counts

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for _process in self._processes:
            self.counts.update(self._results.get(timeout=120))
        for process in self._processes:
            process.join()


def ask(port: int, users: list, number: int, stop, results) -> None:
    """Ask until told to stop or refused; tell what came of it."""
    draw, counts = random.Random(number), Counter[str]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not stop.is_set():
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            break
        try:
            body = {"signature_name": "recommend_user", "inputs": draw.choice(users)}
            connection.request("POST", PREDICT, as_json(body))
            answer = connection.getresponse()
            answer.read()
            counts["answered" if answer.status == 200 else str(answer.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            counts[type(error).__name__] += 1
            connection.close()
        if number % 2:
            connection.close()
    results.put(counts)


if __name__ == "__main__":
    main()
