"""How much sooner work ends with more threads, processes and cores: ``python benchmarks/speedup.py``.

Three kinds of work: an epoch of the default's members and dimensions on a clustered log (``benchmarks/scale.py``) of 1 million
purchases, 100,000 users and 10,000 products, in one piece and on 8 shards; lists of 100 for 20,000 users of a model of 20,000
products, written as parts; and an evaluation of such lists. Each by threads and by 1, 2 and 4 processes, on one core and on two. A
speed-up is the time of the first way of its kind (one thread, one core) over that of a way. Everybody has a turn in each of
``--rounds`` rounds, so that what else the machine does slows all of them. Five minutes.

How to read it: by the clock on a quiet machine, two cores can give a speed-up of 2 at most, whatever the number of processes; on
one core, what is missing to 1 is what processes cost (writing, reading and merging). Seconds of processors say the same of a
machine that is busy: what is divided without loss takes as many by two as by one.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

import tastemaker as tm
from common import machine, markdown, parser_of, processor_seconds
from scale import SAVE, children, write_log
from tastemaker.evaluation.evaluate import evaluate_ranked
from tastemaker.kernels.threads import ThreadPool
from tastemaker.ranking.export.blocks import rank_blocks
from tastemaker.ranking.export.parts import ListJob, write_parts
from tastemaker.scale.executor import Executor
from tastemaker.scale.local import Processes, ThisProcess
from tastemaker.training.learners.composed import Composed
from tastemaker.training.loop import PURCHASES_PER_CALL
from tastemaker.training.sharded.crew import Crew

USERS, PRODUCTS, LENGTH = 20_000, 20_000, 100
"""Of the model that lists are made with, and how long they are"""
PROCESSES = (1, 2, 4)


@dataclass
class Way:
    """One way of doing some work, and what it took."""

    what: str
    who: str
    cores: int
    do: Callable[[int], object]
    """Does it, in the round of this number"""
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """Seconds of processors, of this process and its children: what others do at the same time hardly changes them"""


def main() -> None:
    parser = parser_of(__doc__, rounds=2, million=1, shards=8)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    ways: list[Way] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        size = options.million
        log = tm.read_purchases(write_log(folder / "log", 100_000 * size, 10_000 * size, 1_000_000 * size))
        for some in (partial(learning, log, options.shards), ranking):
            with (
                ExitStack() as opened
            ):  # the processes of one kind of work end before those of the other begin
                ways += in_turns(list(some(folder, len(cores), opened)), options.rounds, cores)
    tell(ways)
    print(f"\n{size} million purchases, medians of {options.rounds} rounds. {machine()}")


def in_turns(ways: list[Way], rounds: int, cores: list[int]) -> list[Way]:
    """Let each way do its work, round by round."""
    for number in range(rounds + 1):  # the first compiles and begins the processes
        for way in ways:
            before = seconds_of_all()
            with affinity(cores[: way.cores]):
                began = time.perf_counter()
                way.do(number + 1)
                seconds = time.perf_counter() - began
            if number:
                way.seconds.append(seconds)
                way.processor.append(seconds_of_all() - before)
            print(f"round {number}: {way.what} by {way.who} on {way.cores}: {seconds:.1f} s", file=sys.stderr)
    return ways


def tell(ways: list[Way]) -> None:
    first: dict[str, float] = {}
    rows = []
    for way in ways:
        kind, seconds = way.what.partition(",")[0], statistics.median(way.seconds)
        speed_up = first.setdefault(kind, seconds) / seconds
        processor = f"{statistics.median(way.processor):.2f}"
        rows.append([way.what, way.who, str(way.cores), f"{seconds:.2f}", f"{speed_up:.2f}", processor])
    print(markdown(["what", "by", "cores", "seconds", "speed-up", "of processors, s"], rows))


def learning(log: tm.Purchases, shards: int, folder: Path, cores: int, opened: ExitStack) -> Iterator[Way]:
    def way(shards: int, who: str, many: int, pool: ThreadPool) -> Way:
        config = tm.preset("default").changed({"shards": shards, "epochs": 8, "decay": 0.05})
        learner = Composed.start(log, config, 0)

        def epoch(number: int) -> None:
            for _ in learner.learn(number, PURCHASES_PER_CALL, pool):
                pass

        return Way("an epoch, one piece" if shards == 1 else f"an epoch, {shards} shards", who, many, epoch)

    for count in (1, shards):
        for threads in range(1, cores + 1):
            yield way(count, spoken(threads, "thread"), threads, opened.enter_context(ThreadPool(threads)))
    for processes in PROCESSES:
        for many in range(1, cores + 1):
            crew = opened.enter_context(Crew(Processes(processes, 1), folder / f"{processes}-{many}", 1))
            yield way(shards, spoken(processes, "process"), many, crew)


def ranking(folder: Path, cores: int, opened: ExitStack) -> Iterator[Way]:
    """Yield ways of writing lists and of measuring some; the model is not trained."""
    saved = folder / "models" / "1"
    command = [sys.executable, "-c", SAVE, str(saved), str(USERS), str(PRODUCTS), "numbers", "as learned"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    model, rows = tm.load(saved), np.arange(USERS, dtype=np.int32)
    bought = np.random.default_rng(0).integers(0, PRODUCTS, USERS).astype(np.int32)
    held_out = tm.Purchases(model.users, model.products, rows, bought)

    def write(executor: Executor, _: int) -> None:
        write_parts(ListJob(str(saved), "users", LENGTH), folder / "lists", executor)
        shutil.rmtree(folder / "lists")

    def measure(executor: Executor, _: int) -> None:
        rank = partial(rank_blocks, folder=saved, executor=executor)
        evaluate_ranked(model, held_out, rank, at=(LENGTH,), threads=executor.threads)

    by: list[tuple[str, int, Executor]] = [
        (spoken(threads, "thread"), threads, ThisProcess(threads)) for threads in range(1, cores + 1)
    ]
    for processes in PROCESSES:
        for many in range(1, cores + 1):
            kept = opened.enter_context(Processes(processes, 1).session())
            by.append((spoken(processes, "process"), many, kept))
    for what, work in (("lists", write), ("evaluation", measure)):
        for who, many, executor in by:
            yield Way(what, who, many, partial(work, executor))


def spoken(count: int, noun: str) -> str:
    plural = "es" if noun == "process" else "s"
    return f"{count} {noun}{plural * (count > 1)}"


def seconds_of_all() -> float:
    total = time.process_time()
    for process in children(os.getpid()):
        with suppress(OSError):  # it has ended
            total += processor_seconds(process)
    return total


@contextmanager
def affinity(cores: list[int]) -> Iterator[None]:
    """Run on these cores alone, with all threads of this process."""
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    before = os.sched_getaffinity(0)
    for thread in threads:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread, cores)
    try:
        yield
    finally:
        for thread in threads:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, before)


if __name__ == "__main__":
    main()
