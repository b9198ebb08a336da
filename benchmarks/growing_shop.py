"""What a candidate costs the workshop's learner as users and products grow: ``python benchmarks/growing_shop.py``.

Epochs of the workshop's preset (D = 50, S = 100) on one thread, with ASOS's number of users and products and with more times as
many, purchases drawn at random. ``--beside CHECKOUT`` takes another version's epochs in turns with ours, each from its own
``src`` and ``benchmarks``. The time is that of the processor, so that other jobs change it little; an epoch has at least twice
ASOS's purchases, and the end of an epoch, which looks at all vectors, is timed with it.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import tastemaker as tm
from common import (
    ASOS_PRODUCTS,
    ASOS_PURCHASES,
    ASOS_USERS,
    ROOT,
    Worker,
    machine,
    markdown,
    parser_of,
    processor_seconds,
    ratios,
    save_arrays,
    spread,
    thread_environment,
)


def main() -> None:
    parser = parser_of(__doc__, epochs=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 40, 100], help="default: 1 10 40 100")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="a checkout of another version")
    options = parser.parse_args()
    versions = {"now": ROOT} | ({} if options.beside is None else {"before": options.beside.resolve()})
    rows = []
    for size in options.sizes:
        purchases = ASOS_PURCHASES * min(max(size, 2), 10)
        found = nanoseconds(size, purchases, options.epochs, versions)
        more = [spread(found[name], 1) for name in list(versions)[1:]]
        more += [spread(ratios(found[name], found["now"])) for name in list(versions)[1:]]
        rows.append([f"{size:,}", f"{purchases:,}", spread(found["now"], 1), *more])
    header = ["times the users and products", "purchases", "ns a candidate"]
    print(markdown(header + ["before", "times"] * (len(versions) - 1), rows))
    print(
        f"\nOne thread, processor time, {options.epochs} epochs in turns; median (least–greatest). {machine()}"
    )


def nanoseconds(size: int, purchases: int, epochs: int, versions: dict[str, Path]) -> dict[str, list[float]]:
    """Return each version's processor time a candidate, of each epoch after the first."""
    settings = tm.preset("workshop")
    users, products = ASOS_USERS * size, ASOS_PRODUCTS * size
    rng = np.random.default_rng(size)
    found: dict[str, list[float]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        arrays = Path(folder) / "log.npz"
        save_arrays(
            arrays,
            user_rows=rng.integers(0, users, purchases).astype(np.int32),
            product_rows=rng.integers(0, products, purchases).astype(np.int32),
            users=users,
            products=products,
            **{
                name: getattr(settings, name)
                for name in ("dimensions", "negatives", "batch", "learning_rate")
            },
        )
        workers = {}
        for name, checkout in versions.items():
            script = [str(checkout / "benchmarks" / "tastemaker_epochs.py"), str(arrays)]
            command = [sys.executable, *script, "--epochs", str(epochs + 1), "--threads", "1"]
            place = {"PYTHONPATH": str(checkout / "src")}
            workers[name] = stack.enter_context(Worker(command, thread_environment(1) | place))
        for worker in workers.values():
            worker.ask()
        for _ in range(epochs):
            for name, worker in workers.items():
                began = processor_seconds(worker.pid)
                worker.ask()
                spent = processor_seconds(worker.pid) - began
                found[name].append(1e9 * spent / purchases / (1 + settings.taste.negatives))
    return found


if __name__ == "__main__":
    main()
