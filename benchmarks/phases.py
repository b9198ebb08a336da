"""Where the time and the memory of a training go: ``python benchmarks/phases.py --millions 1``.

Writes a clustered log (``benchmarks/scale.py``) of so many million purchases, a tenth as many users and a hundredth as many
products, learns from it with the default settings in this process, and tells of each phase the seconds by the clock, those of
processors, and the most anonymous memory (pages of mapped files, which the system may drop, are not counted). A phase within
another is indented and counted in both. ``--partition`` reads the log in pieces on disk; ``--kept FOLDER`` keeps all there, and
goes on from the log and the partition that it holds. 1 million take a minute, 10 million ten, 100 million an hour.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import machine, markdown, parser_of
from scale import MILLION, write_log

MIB = 1 << 20
FUNCTIONS = (
    ("tastemaker.data.purchases", "Purchases.fingerprint", "fingerprint"),
    ("tastemaker.training.selection.choose", "settle", "choosing"),
    ("tastemaker.training.train", "settle", "choosing"),
    ("tastemaker.training.selection.choose", "hold_out", "holding out"),
    ("tastemaker.training.selection.choose_repeats", "hold_out_repeats", "holding out of repeats"),
    ("tastemaker.training.selection.choose_repeats", "times_bought", "times bought"),
    ("tastemaker.training.learners.composed", "times_bought", "times bought"),
    ("tastemaker.training.loop", "_one_epoch", "an epoch"),
    ("tastemaker.training.selection.choose", "taste_scores", "scores"),
    ("tastemaker.training.selection.choose", "_choose_weights", "weights"),
    ("tastemaker.training.selection.choose_repeats", "_best", "weights of repeats"),
    ("tastemaker.training.memory.co_occurrence", "partners_among", "partners"),
    ("tastemaker.training.memory.co_occurrence", "count_memory", "common purchases"),
    ("tastemaker.training.memory.co_occurrence", "ridge_memory", "regression"),
    ("tastemaker.training.memory.remember", "added", "adding tables"),
    ("tastemaker.training.learners.composed", "Composed.start", "starting vectors"),
    ("tastemaker.training.learners.composed", "Composed.finish", "finishing"),
)


class Watch:
    """Times phases, and watches the memory in a thread of its own."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, int]] = []
        self._depth = 0
        self._open: list[int] = []
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            now = anonymous()
            self._open[:] = [max(most, now) for most in self._open]
            time.sleep(0.05)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done within the block."""
        began, cpu, place = time.perf_counter(), time.process_time(), len(self._open)
        self._open.append(anonymous())
        try:
            yield
        finally:
            most = max(self._open.pop(), anonymous())
            row = ("  " * place + name, time.perf_counter() - began, time.process_time() - cpu, most)
            self.rows.append(row)
            told = f"{row[1]:.1f} s, {row[2]:.1f} s of processors, {most / MIB:,.0f} MiB"
            print(f"{time.strftime('%H:%M:%S')} {row[0]}: {told}", file=sys.stderr, flush=True)

    def wrap(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function that is a phase whenever it is called."""

        def timed(*given: Any, **options: Any) -> Any:
            with self.phase(name):
                return function(*given, **options)

        return timed


def anonymous() -> int:
    """Return the anonymous memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = parser_of(__doc__, threads=2)
    parser.add_argument("--millions", type=int, default=1, help="purchases")
    parser.add_argument("--partition", action="store_true", help="read the log in pieces on disk")
    parser.add_argument("--kept", type=Path, help="a folder that is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.kept or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measured(folder, options.millions, options.threads, partition=options.partition)


def measured(folder: Path, millions: int, threads: int, *, partition: bool) -> None:
    import importlib

    from tastemaker.data.partition.partition import partition_log
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.model.folder import save
    from tastemaker.training.train import train

    watch = Watch()
    shop = (100_000 * millions, 10_000 * millions, MILLION * millions)
    log_folder = folder / f"log-{millions}"
    if not log_folder.is_dir():
        with watch.phase("writing the log"):
            write_log(log_folder, *shop)
    for module, path, name in FUNCTIONS:
        owner: Any = importlib.import_module(module)
        *outer, last = path.split(".")
        for one in outer:
            owner = getattr(owner, one)
        wrapped: Any = watch.wrap(getattr(owner, last), name)
        setattr(owner, last, staticmethod(wrapped) if path == "Composed.start" else wrapped)
    with watch.phase("all"):
        with watch.phase("reading"):
            parted = folder / f"partition-{millions}"
            log = partition_log(log_folder, parted) if partition else read_purchases(log_folder)
        with watch.phase("training"):
            model = train(log, seed=0, threads=threads, progress=False)
        with watch.phase("saving"):
            save(model, folder / f"model-{millions}-{int(time.time())}")
    rows = [
        [name, f"{clock:.1f}", f"{cpu:.1f}", f"{1e6 * cpu / shop[2]:.2f}", f"{most / MIB:,.0f}"]
        for name, clock, cpu, most in watch.rows
    ]
    names = ["phase", "seconds", "of processors", "µs a purchase", "most anonymous memory, MiB"]
    print(markdown(names, rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{shop[2]:,} purchases; peak with mapped files {peak:,.0f} MiB; {machine()}")
    print(json.dumps(dict(model.record.metrics), indent=1))


if __name__ == "__main__":
    main()
