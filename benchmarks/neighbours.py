"""What memory the neighbours of all products take: ``python benchmarks/neighbours.py``.

Saves models of 10,000, 100,000 and a million products, untrained, with 64 dimensions, and lets ``similar --all-products --k 100``
write parts by one process and by two. Each run is ended after ``--parts`` parts, since later ones take what these take: a million
products have 382 of them. Two minutes.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, markdown, parser_of, thread_environment
from scale import MIB, MILLION, SAVE, children, told_of


def main() -> None:
    parser = parser_of(__doc__, largest=MILLION, parts=4)
    parser.add_argument("--similarity", choices=["dot", "cosine"], default="dot")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for products in (10_000, 100_000, MILLION):
            if products > options.largest:
                continue
            model = Path(temporary, "models", str(products))
            save = [sys.executable, "-c", SAVE, str(model), "1000", str(products), "numbers", "as learned"]
            subprocess.run(save, check=True, stdout=subprocess.DEVNULL)
            for workers in ("local", "local:2"):
                command = ["similar", model, "--all-products", "--k", 100, "--similarity", options.similarity]
                sizes = most_memory([*command, "--workers", workers], Path(temporary, "lists"), options.parts)
                told = (f"{size / MIB:,.0f}" for size in (256 * products, *sizes))
                rows.append([f"{products:,}", workers, *told])
            shutil.rmtree(model)
    names = ["products", "workers", "vectors, MiB", "anonymous memory of a worker, MiB"]
    print(markdown([*names, "with pages of mapped files, MiB"], rows))
    print(f"\n{options.similarity}, lists of 100, {options.parts} parts. {machine()}")


def most_memory(command: list[object], out: Path, parts: int) -> tuple[int, int]:
    """Run a command until it has written so many parts; return the most memory of one of its processes, in bytes."""
    whole = [sys.executable, "-m", "tastemaker", *map(str, command), "--threads", "1", "--out", str(out)]
    running = subprocess.Popen(whole, env=thread_environment(1), stderr=subprocess.DEVNULL)
    anonymous = resident = 0
    while running.poll() is None and len(list(out.glob("part-*"))) < parts:
        for process in (running.pid, *children(running.pid)):
            lines = told_of(process, "status").splitlines()
            sizes = {
                line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")
            }
            anonymous = max(anonymous, sizes.get("RssAnon", 0))
            resident = max(resident, sum(sizes.values()))
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    running.wait(60)
    shutil.rmtree(out)
    return anonymous, resident


if __name__ == "__main__":
    main()
