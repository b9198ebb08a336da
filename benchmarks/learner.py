"""Processor time of the default learner, beside another version of it: ``python benchmarks/learner.py --beside SRC``.

One member learns ASOS's purchases (or ``--log``) on one thread, an epoch in turns with the same epoch of the version whose ``src``
folder is given, each in a process of its own with compiled kernels of its own. Processor time, since other jobs of the machine
change it little; a ratio is of neighbours in time. Without ``--beside`` this version is measured alone. Then the products of
matrices that learning is made of, beside NumPy's on one thread. Last, ``--threads`` threads at one member beside one thread, which
needs a machine with nothing else to do; the busiest thread's processor time is told, too. Three minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from common import (
    ROOT,
    Worker,
    add_data_options,
    machine,
    markdown,
    parser_of,
    questions,
    ratios,
    read_log,
    spread,
    thread_environment,
)

SETTINGS = ((64, 128, 128), (128, 128, 128), (64, 512, 512), (128, 512, 512))
"""Dimensions of the member, purchases and negatives of a batch; the first is what each of the default's members learns"""

SHAPES = (
    ("scores of a batch", 128, 64, 128),
    ("gradients of its queries", 128, 128, 64),
    ("scores of cosines", 64, 128, 256),
    ("a Gram matrix's block", 32, 256, 512),
    ("turning a table's rows", 256, 256, 512),
)
"""What is multiplied: rows, the inner index and columns"""


def main() -> None:
    parser = parser_of(__doc__, rounds=7, threads=2)
    add_data_options(parser)
    parser.add_argument("--log", type=Path, help="purchases to learn from, in place of ASOS's")
    parser.add_argument("--beside", type=Path, metavar="SRC", help="the src folder of another version")
    parser.add_argument("--work", action="store_true", help="answer another process (used by this program)")
    options = parser.parse_args()
    if options.work:
        work(options)
        return
    versions = {"now": ROOT / "src"} | ({} if options.beside is None else {"before": options.beside})
    rows = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(src, stack)) for name, src in versions.items()}
        for width, batch, negatives in SETTINGS:
            taken: dict[str, list[float]] = {name: [] for name in versions}
            for number in range(options.rounds + 1):
                for name, one in workers.items():
                    asked = {"width": width, "batch": batch, "negatives": negatives, "epoch": number}
                    seconds = one.ask(**asked)["seconds"]
                    if number:  # the first finds caches cold
                        taken[name].append(seconds)
            row = [str(width), str(batch), str(negatives), spread(taken["now"], 3)]
            if options.beside is not None:
                row += [spread(taken["before"], 3), spread(ratios(taken["before"], taken["now"]))]
            rows.append(row)
        multiplied = workers["now"].ask(products=options.rounds)["rows"]
        several = [
            workers["now"].ask(together=options.threads, rounds=options.rounds, shape=shape)["row"]
            for shape in SETTINGS
        ]
    heads = ["D", "purchases a batch", "negatives", "seconds an epoch"]
    print(markdown([*heads, *(["before", "times"] if options.beside is not None else [])], rows))
    print()
    print(markdown(["product", "shape", "10⁹ operations a second", "NumPy"], multiplied))
    print()
    heads = ["D", "purchases a batch", "negatives", "one thread, seconds", f"{options.threads} threads", "times",
             "by processor time"]  # fmt: skip
    print(markdown(heads, several))
    print(
        f"\nOne thread, processor time, {options.rounds} rounds in turns; median (least–greatest). {machine()}"
    )


def worker(src: Path, stack: ExitStack) -> Worker:
    """Return a process that learns with the version in a folder, its kernels in a cache of its own."""
    cache = stack.enter_context(tempfile.TemporaryDirectory())
    environment = thread_environment(1) | {"PYTHONPATH": str(src.resolve()), "NUMBA_CACHE_DIR": cache}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)  # some machines set them, which slows NumPy
    return Worker([sys.executable, __file__, "--work", *sys.argv[1:]], environment)


def work(options: Any) -> None:
    """Learn the epochs that are asked for; answer how much processor time each took."""
    import tastemaker as tm
    from tastemaker.training.sharded.lesson import Tables

    log = read_log(options) if options.log is None else tm.read_purchases(options.log)
    with questions() as (ask, answer):
        started: dict[tuple[int, ...], Any] = {}
        while question := ask():
            if "together" in question:
                answer(row=together(log, question["shape"], question["together"], question["rounds"]))
                continue
            if "products" in question:
                answer(rows=products(question["products"]))
                continue
            shape = tuple(question[name] for name in ("width", "batch", "negatives"))
            if shape not in started:
                started[shape] = begin(log, shape)
            (member,), lesson = started[shape].members, started[shape].lesson()
            tables, epoch = Tables(member.vectors, member.bias, member.squares), question["epoch"] + 1
            course, sums = lesson.course(epoch, 0), np.zeros(3)
            lesson.learn(tables, course, (0, 0), epoch, sums)  # compiled now, if it has to be
            began = time.thread_time()
            lesson.learn(tables, course, (0, course.batches), epoch, sums)
            answer(seconds=time.thread_time() - began)


def begin(log: Any, shape: Sequence[int]) -> Any:
    """Return a member of this width before its first epoch."""
    from tastemaker.model.config import DEFAULT
    from tastemaker.training.learners.composed import Composed

    width, batch, negatives = shape
    settings = {"dimensions": width, "batch": batch, "negatives": negatives, "members": 1, "decay": 0.04}
    return Composed.start(log, DEFAULT.changed(settings, epochs=8, horizon=8), 0)


def together(log: Any, shape: Sequence[int], threads: int, rounds: int) -> list[str]:
    """Return what an epoch takes one thread and several, in turns on tables of their own."""
    from tastemaker.kernels.threads import ThreadPool
    from tastemaker.training.sharded.lesson import Tables

    seconds: dict[int, list[float]] = {1: [], threads: []}
    busiest: dict[int, list[float]] = {1: [], threads: []}
    learners = {count: begin(log, shape) for count in seconds}
    with ThreadPool(threads) as pool:
        for epoch in range(1, rounds + 2):
            for count, learner in learners.items():
                (member,), lesson = learner.members, learner.lesson()
                tables, course = Tables(member.vectors, member.bias, member.squares), lesson.course(epoch, 0)
                part, sums, busy = (0, course.batches), np.zeros(3), [0.0] * count
                joint = lesson.joint(tables, course, part, count)

                def learn(low: int, _: int) -> None:
                    began = time.thread_time()
                    lesson.learn(tables, course, part, epoch, sums, thread=low, joint=joint)  # noqa: B023
                    busy[low] = time.thread_time() - began  # noqa: B023

                began = time.perf_counter()
                pool.run(learn, count)
                seconds[count].append(time.perf_counter() - began)
                busiest[count].append(max(busy))
    one, several = ({name: values[1:] for name, values in found.items()} for found in (seconds, busiest))
    told = [spread(one[1], 3), spread(one[threads], 3)]
    return [*map(str, shape), *told, *(spread(ratios(found[1], found[threads])) for found in (one, several))]


def products(rounds: int) -> list[list[str]]:
    """Return how fast the shapes are multiplied, here and by NumPy, in turns."""
    from tastemaker.kernels.compiling import kernel
    from tastemaker.kernels.products import multiply_add

    @kernel()
    def many(times: int, a: Any, b: Any, c: Any) -> None:
        for _ in range(times):
            c[:] = 0
            multiply_add(a, b, c, a.shape[0], a.shape[1])

    def numpys(times: int, a: Any, b: Any, c: Any) -> None:
        for _ in range(times):
            np.matmul(a, b, out=c)

    rng, rows = np.random.default_rng(0), []
    for name, *shape in SHAPES:
        high, inner, wide = shape
        a, b = (rng.standard_normal(size, np.float32) for size in ((high, inner), (inner, wide)))
        c, operations = np.empty((high, wide), np.float32), 2 * high * inner * wide
        times = max(1, 200_000_000 // operations)
        found: dict[Callable[..., None], list[float]] = {many: [], numpys: []}
        for _ in range(rounds + 1):
            for multiply, speeds in found.items():
                began = time.thread_time()
                multiply(times, a, b, c)
                speeds.append(times * operations / (time.thread_time() - began) / 1e9)
        told = [spread(one[1:], 0) for one in found.values()]
        rows.append([str(name), f"{high} × {inner} × {wide}", *told])
    return rows


if __name__ == "__main__":
    main()
