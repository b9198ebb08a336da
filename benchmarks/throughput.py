"""How much of the machine the workshop's kernel uses: ``python benchmarks/throughput.py``.

An epoch of the workshop's preset at several D, with one thread and with several, all settings in turns. Its work is
purchases × (S + 1) × D multiply-adds in each of three places: scores, the user's gradient, the products' updates. Beside it stands
what small compiled loops reach in the same run: the floating-point peak, and the rate at which rows are gathered at
random from a table as large as that of the products (the kernel reads such a row to score it, reads and writes it to change it).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import tastemaker as tm
from common import (
    Worker,
    add_data_options,
    machine,
    markdown,
    parser_of,
    read_log,
    save_arrays,
    spread,
    thread_environment,
)
from probes import gather_gigabytes, peak_gigaflops, stream_gigabytes
from tastemaker.training.learners.tables import LANES

HERE = Path(__file__).parent
DIMENSIONS = (50, 64, 128)
L2_BYTES, L3_BYTES = 256 << 10, 4 << 20


def main() -> None:
    parser = parser_of(__doc__, rounds=5, threads=2)
    add_data_options(parser)
    options = parser.parse_args()
    log = read_log(options)
    settings = tm.preset("workshop")
    products, candidates = len(log.products), 1 + settings.taste.negatives
    counts = sorted({1, options.threads})
    peaks = {n: [peak_gigaflops(n)] for n in counts}
    gathers = {(d, n): [gather_gigabytes(products, padded(d), n)] for d in DIMENSIONS for n in counts}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = {}
        for d in DIMENSIONS:
            arrays = Path(folder) / f"{d}.npz"
            save_arrays(
                arrays,
                user_rows=log.user_rows,
                product_rows=log.product_rows,
                users=len(log.users),
                products=products,
                dimensions=d,
                **{name: getattr(settings, name) for name in ("negatives", "batch", "learning_rate")},
            )
            for n in counts:
                command = [sys.executable, str(HERE / "tastemaker_epochs.py"), str(arrays)]
                command += ["--epochs", str(options.rounds + 1), "--threads", str(n)]
                workers[d, n] = stack.enter_context(Worker(command, thread_environment(n)))
        for worker in workers.values():
            worker.ask()
        seconds: dict[tuple[int, int], list[float]] = {key: [] for key in workers}
        for _ in range(options.rounds):
            for key, worker in workers.items():
                seconds[key].append(worker.ask()["seconds"])
    for n in counts:
        peaks[n].append(peak_gigaflops(n))
        for d in DIMENSIONS:
            gathers[d, n].append(gather_gigabytes(products, padded(d), n))

    rows = []
    for (d, n), measured in seconds.items():
        pairs = 1e-9 * len(log) * candidates / statistics.median(measured)
        rows.append(
            [
                f"D = {d}, {n} thread{'s' if n > 1 else ''}",
                spread([len(log) / elapsed / 1e3 for elapsed in measured], 0),
                spread([1e-9 * len(log) * candidates * d / elapsed for elapsed in measured]),
                f"{6 * d * pairs / max(peaks[n]):.0%}",
                f"{12 * padded(d) * pairs:.1f}",
                f"{12 * padded(d) * pairs / max(gathers[d, n]):.0%}",
            ]
        )
    header = [
        "",
        "thousand purchases a second",
        "10⁹ purchases × (S + 1) × D a second",
        "of the floating-point peak",
        "GB of rows a second",
        "of gathering rows",
    ]
    print(markdown(header, rows))
    machine_rows = [
        ["multiply-adds, 10⁹ operations a second", *(f"{max(peaks[n]):.0f}" for n in counts)],
        [
            "read from the L2 cache (256 KiB a thread), GB/s",
            *(f"{stream_gigabytes(L2_BYTES, n):.0f}" for n in counts),
        ],
        [
            "read from the L3 cache (4 MiB a thread), GB/s",
            *(f"{stream_gigabytes(L3_BYTES, n):.0f}" for n in counts),
        ],
    ]
    machine_rows += [
        [
            f"gather random rows of D = {d} ({padded(d)} floats), GB/s",
            *(f"{max(gathers[d, n]):.0f}" for n in counts),
        ]
        for d in DIMENSIONS
    ]
    print()
    print(
        markdown(
            ["the machine reaches", *(f"{n} thread{'s' if n > 1 else ''}" for n in counts)], machine_rows
        )
    )
    print(
        f"\n{len(log):,} purchases, {products:,} products, S = {settings.taste.negatives}, {options.rounds} timed epochs of "
        f"each setting; median (least–greatest), of the machine the best. {machine()}"
    )


def padded(dimensions: int) -> int:
    return -(-dimensions // LANES) * LANES


if __name__ == "__main__":
    main()
