"""How much sooner an epoch ends with more threads, processes and cores: ``python benchmarks/speedup.py``.

Learns the vectors of a clustered log (``benchmarks/scale.py``) of 1 million purchases, 100,000 users and 10,000 products with the
default's members and dimensions, in one piece and on 8 shards, by threads and by processes, on one core and on two. Everybody has a
turn in each of ``--rounds`` rounds, so that what else the machine does slows all of them. Three minutes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import tastemaker as tm
from common import machine, markdown, parser_of
from scale import children, write_log
from tastemaker.kernels.threads import ThreadPool
from tastemaker.scale.local import Processes
from tastemaker.training.learners.composed import Composed
from tastemaker.training.loop import PURCHASES_PER_CALL
from tastemaker.training.sharded.crew import Crew


@dataclass
class Way:
    """One way of learning, and what its epochs took."""

    shards: int
    who: str
    cores: int
    pool: ThreadPool
    learner: Composed
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """Seconds of processors, of this process and its children: what others do at the same time hardly changes them"""


def main() -> None:
    parser = parser_of(__doc__, rounds=3, million=1, shards=8)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        size = options.million
        log = tm.read_purchases(write_log(folder / "log", 100_000 * size, 10_000 * size, 1_000_000 * size))
        ways = list(ways_of(log, options.shards, cores, folder, opened))
        for number in range(options.rounds + 1):  # the first compiles and begins the processes
            for way in ways:
                before = processor_seconds()
                seconds = epoch(way, number + 1, cores)
                if number:
                    way.seconds.append(seconds)
                    way.processor.append(processor_seconds() - before)
    first = statistics.median(ways[0].seconds)
    rows = [
        [
            "one piece" if way.shards == 1 else f"{way.shards} shards",
            way.who,
            str(way.cores),
            f"{statistics.median(way.seconds):.2f}",
            f"{first / statistics.median(way.seconds):.2f}",
            f"{statistics.median(way.processor):.2f}",
        ]
        for way in ways
    ]
    print(markdown(["learned in", "by", "cores", "an epoch, s", "speed-up", "of processors, s"], rows))
    print(f"\n{options.million} million purchases, medians of {options.rounds} rounds. {machine()}")


def ways_of(
    log: tm.Purchases, shards: int, cores: list[int], folder: Path, opened: ExitStack
) -> Iterator[Way]:
    def learner(shards: int) -> Composed:
        return Composed.start(
            log, tm.preset("default").changed({"shards": shards, "epochs": 8, "decay": 0.05}), 0
        )

    for count in (1, shards):
        for threads in range(1, len(cores) + 1):
            pool = opened.enter_context(ThreadPool(threads))
            yield Way(count, f"{threads} thread{'s' * (threads > 1)}", threads, pool, learner(count))
    for processes in (1, 2, 4):
        for many in range(1, len(cores) + 1):
            with affinity(cores[:many]):  # which processes that begin here keep
                crew = opened.enter_context(Crew(Processes(processes, 1), folder / f"{processes}-{many}", 1))
            yield Way(shards, f"{processes} process{'es' * (processes > 1)}", many, crew, learner(shards))


def epoch(way: Way, number: int, cores: list[int]) -> float:
    with affinity(cores[: way.cores]):
        began = time.perf_counter()
        for _ in way.learner.learn(number, PURCHASES_PER_CALL, way.pool):
            pass
        return time.perf_counter() - began


def processor_seconds() -> float:
    total = time.process_time()
    for process in children(os.getpid()):
        with suppress(OSError):  # it has ended
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@contextmanager
def affinity(cores: list[int]) -> Iterator[None]:
    """Run on these cores alone, with all threads of this process."""
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    before = os.sched_getaffinity(0)
    for thread in threads:
        os.sched_setaffinity(thread, cores)
    try:
        yield
    finally:
        for thread in threads:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(thread, before)


if __name__ == "__main__":
    main()
