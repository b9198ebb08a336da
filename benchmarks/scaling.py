"""Ten and a hundred times the purchases: time and memory of training: ``python benchmarks/scaling.py``.

Synthetic shops of 1, 10 and 100 times ASOS's size (43,607 users, 29,696 products and 165,042 purchases; all three grow alike)
are written to a temporary folder, then each is learned from by ``tastemaker train --preset workshop --epochs 1`` in a fresh
process, compiled before. Memory is that process's peak; its bound is 3 × (vectors + 12 bytes a purchase) + 500 MiB. The largest
needs about 6 GiB of memory, 3 GB of disk and several minutes; ``--largest 10`` leaves it out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tastemaker as tm
from common import ASOS_PRODUCTS, ASOS_PURCHASES, ASOS_USERS, machine, markdown, parser_of, thread_environment

DIMENSIONS = tm.preset("workshop").taste.dimensions
MIB = 1 << 20
SIZES = (1, 10, 100)

WRITE = """
import sys
from tastemaker.data.synthetic.shop import make_shop, write_shop
users, products, purchases = map(int, sys.argv[2:])
write_shop(make_shop(users=users, products=products, purchases=purchases), sys.argv[1])
"""


def main() -> None:
    parser = parser_of(__doc__, threads=2)
    parser.add_argument("--largest", type=int, default=SIZES[-1], choices=SIZES)
    parser.add_argument(
        "--folder", type=Path, help="where temporary files may stand (default: the system's place)"
    )
    parser.add_argument(
        "--shops", type=Path, help="keep the shops in this folder, and use those that are there"
    )
    options = parser.parse_args()
    environment = thread_environment(options.threads)
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        shops = options.shops or Path(temporary)
        learn(
            shop(shops, 1, environment), Path(temporary), environment, options.threads
        )  # compiles the kernels
        for size in [size for size in SIZES if size <= options.largest]:
            files = shop(shops, size, environment)
            measured.append(learn(files, Path(temporary), environment, options.threads) | {"size": size})
            if options.shops is None and size > 1:
                for file in files.iterdir():
                    file.unlink()
    base = measured[0]["wall"] / ASOS_PURCHASES
    rows = []
    for run in measured:
        purchases = ASOS_PURCHASES * run["size"]
        seconds, each = run["seconds"], run["wall"] / purchases
        tables = 4 * DIMENSIONS * (ASOS_USERS + ASOS_PRODUCTS) * run["size"]
        bound = 3 * (tables + 12 * purchases) + 500 * MIB
        peak = run["peak_memory_bytes"]
        rows.append(
            [
                f"{purchases:,}",
                *(f"{seconds[step]:.2f}" for step in ("read", "train", "write")),
                f"{run['processor']:.1f}",
                f"{1e6 * each:.2f}",
                f"{each / base:.2f}",
                f"{peak / MIB:,.0f}",
                f"{bound / MIB:,.0f}",
                "yes" if peak <= bound else "**no**",
            ]
        )
    steps = ["read, s", "train, s", "write, s", "processor, s"]
    memory = ["peak memory, MiB", "bound, MiB", "within it"]
    print(markdown(["purchases", *steps, "µs a purchase", "times the first (at most 2)", *memory], rows))
    print(
        f"\nD = {DIMENSIONS}, one epoch, {options.threads} threads, one run each; µs a purchase are of reading, training and "
        f"writing together; processor seconds are those of all threads, start of Python included. {machine()}"
    )


def shop(folder: Path, size: int, environment: dict[str, str]) -> Path:
    """Return the folder of the shop of this size, made by a process of its own unless it is there."""
    files = folder / str(size)
    if not (files / "users.parquet").exists():  # the last that is written
        counts = [str(count * size) for count in (ASOS_USERS, ASOS_PRODUCTS, ASOS_PURCHASES)]
        subprocess.run([sys.executable, "-c", WRITE, str(files), *counts], check=True, env=environment)
    return files


def learn(files: Path, temporary: Path, environment: dict[str, str], threads: int) -> dict[str, Any]:
    """Train in a fresh process; return what it printed, and its wall and processor seconds."""
    out = temporary / "model"
    command = [
        sys.executable,
        "-m",
        "tastemaker",
        "train",
        str(files / "purchases.parquet"),
        "--out",
        str(out),
        "--json",
    ]
    command += ["--users", str(files / "users.parquet"), "--products", str(files / "products.parquet")]
    command += ["--preset", "workshop", "--epochs", "1", "--threads", str(threads)]
    before = os.times()
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    after, process = os.times(), time.perf_counter() - began
    run: dict[str, Any] = json.loads(ended.stdout)
    for file in out.iterdir():
        file.unlink()
    out.rmdir()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return run | {"wall": sum(run["seconds"].values()), "process": process, "processor": processor}


if __name__ == "__main__":
    main()
