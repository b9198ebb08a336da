"""A whole shop within a limit of memory that the system enforces: ``python benchmarks/whole_shop.py --millions 100``.

Writes a clustered log (``benchmarks/scale.py``) of so many million purchases, a tenth as many users and a hundredth as many
products, and what 20,000 of the users buy next. Then, by the commands that a shop would give, each in a process of its own with
the default settings: ``train --partition`` reads the log in pieces and learns from it, ``evaluate`` measures the lists of those
20,000 users, and ``recommend --all-users`` writes a list of ten for every user. All of it runs in a memory cgroup of ``--limit``
GiB, which counts pages of mapped files, too: the system drops those, and ends the process where it needs more. That takes root and
a mounted cgroup (version 1 or 2); without, the run says so and goes on unlimited. ``--kept FOLDER`` keeps all there, and a command
whose results are there is not run again. 1 million take two minutes, 100 million two hours and 12 GB of disk.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import machine, markdown, parser_of, thread_environment
from scale import MILLION, bought, tastes_of, write_log

MIB, GIB = 1 << 20, 1 << 30
SAMPLE = 20_000
"""Users whose next purchases are measured"""
NEXT = 5
"""Purchases that each of them makes then"""


def main() -> None:
    parser = parser_of(__doc__, threads=2)
    parser.add_argument("--millions", type=int, default=1, help="purchases")
    parser.add_argument("--limit", type=float, default=8.0, help="GiB of memory for each command")
    parser.add_argument("--kept", type=Path, help="a folder that is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.kept or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Limit(options.limit) as limit:
            took = run_all(folder, options.millions, options.threads, limit)
        total = sum(clock for _, clock, _, _ in took)
        rows = [
            [name, f"{clock:,.0f}", f"{cpu:,.0f}", f"{most / MIB:,.0f}"] for name, clock, cpu, most in took
        ]
        print(markdown(["command", "seconds", "of processors", "most anonymous memory, MiB"], rows))
        print(
            f"\n{options.millions} million purchases in {total / 3600:.2f} hours, {limit.told}; {machine()}"
        )


def run_all(folder: Path, millions: int, threads: int, limit: Limit) -> list[tuple[str, float, float, int]]:
    users, products = 100_000 * millions, 10_000 * millions
    log, later = folder / "log", folder / "later.parquet"
    if not log.is_dir():
        write_log(log, users, products, MILLION * millions)
    write_later(later, users, products)
    model, lists, partition = folder / "model", folder / "lists.parquet", folder / "partition"
    command, last = [sys.executable, "-m", "tastemaker"], ["--threads", str(threads), "--json"]
    steps = [
        ("train", model, ["train", str(log), "--out", str(model), "--partition", str(partition)]),
        ("evaluate", model, ["evaluate", str(model), str(later)]),
        (
            "recommend",
            lists,
            ["recommend", str(model), "--all-users", "--k", "10", "--out", str(lists)],
        ),
    ]
    took = []
    for name, made, given in steps:
        told = folder / f"{name}.json"
        if told.exists() and made.exists():
            took.append(tuple(json.loads(told.read_text())["took"]))
            continue
        took.append(measured(name, [*command, *given, *last], told, limit, thread_environment(threads)))
        print(told.read_text()[:4000], file=sys.stderr, flush=True)
    return took


def write_later(path: Path, users: int, products: int) -> None:
    """Write what a sample of the users buys next: purchases near their tastes, drawn as those of the log were."""
    rng = np.random.default_rng(7)
    user = np.repeat(rng.choice(users, min(SAMPLE, users), replace=False), NEXT)
    product = bought(user, tastes_of(users, products), products, rng)
    pl.DataFrame({"user_id": user, "product_id": product}).write_parquet(path)


def measured(
    name: str, command: list[str], told: Path, limit: Limit, environment: dict[str, str]
) -> tuple[str, float, float, int]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    limit.most = 0
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=limit.enter
    )
    if ended.returncode:
        raise SystemExit(f"{name} ended with {ended.returncode}, {limit.told}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row = (name, time.perf_counter() - began, cpu, limit.most)
    answer: dict[str, Any] = json.loads(ended.stdout)
    told.write_text(json.dumps({"took": row, "answer": answer}, indent=1))
    return row


class Limit:
    """A memory cgroup of its own; who cannot have one says so."""

    def __init__(self, gib: float) -> None:
        one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        self.second = (two / "cgroup.controllers").exists()
        self.group = (two if self.second else one) / f"whole-shop-{os.getpid()}"
        self.bytes, self.most = int(gib * GIB), 0
        self.told = f"each command within {gib:g} GiB that the system enforced"

    def __enter__(self) -> Limit:
        try:
            self.group.mkdir()
            name = "memory.max" if self.second else "memory.limit_in_bytes"
            (self.group / name).write_text(str(self.bytes))
        except OSError as error:
            self.told = f"without a limit of memory ({error})"
            return self
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.group.is_dir():
            self.group.rmdir()

    def enter(self) -> None:
        """Move this process, which is about to begin, into the group."""
        if self.group.is_dir():
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def _look(self) -> None:
        word = "anon" if self.second else "rss"
        while self.group.is_dir():
            try:
                lines = (self.group / "memory.stat").read_text().splitlines()
            except OSError:
                return
            self.most = max(
                self.most, next(int(line.split()[1]) for line in lines if line.split()[0] == word)
            )
            time.sleep(0.2)


if __name__ == "__main__":
    main()
