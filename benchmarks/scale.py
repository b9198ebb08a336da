"""What a purchase costs as the shop grows, with the default settings: ``python benchmarks/scale.py``.

Clustered logs, ten purchases a user and a hundred a product, are written to a temporary folder: 1 million purchases of 100,000
users and 10,000 products, and with ``--largest 10`` or ``100`` ten and a hundred times as many of all three. Each is learned from
by ``tastemaker train`` in a fresh process, compiled before; then all users get lists of ten by ``recommend --workers local:2``.
``--catalogues`` keeps 1 million purchases of 100,000 users and lets the catalogue grow alone, from 10,000 to 1,000,000 products:
what of the cost is the catalogue's. ``--serve`` saves models of 10 million users and a million products, untrained: ids are numbers
or text, and the directions of the vectors as strong as those learned on ASOS, or all alike. It starts a server of each, beside one
of a thousand users, whose memory is that of the software; with ``--largest 0`` nothing is learned. 10 million purchases take about
ten minutes; 100 million need 16 GiB of memory, 4 GB of disk and two hours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import machine, markdown, missing, parser_of, thread_environment

MILLION = 1_000_000
AT_ONCE = 10 * MILLION
"""Purchases in one file of a log"""
MIB = 1 << 20


def main() -> None:
    parser = parser_of(__doc__, threads=2, largest=1)
    parser.add_argument("--catalogues", action="store_true", help="let the catalogue grow alone, too")
    parser.add_argument("--serve", action="store_true", help="start a server of 10 million users, too")
    parser.add_argument("--folder", type=Path, help="where temporary files may stand")
    options = parser.parse_args()
    if options.largest not in (0, 1, 10, 100):
        missing("--largest is 0, 1, 10 or 100 million purchases.")
    environment = thread_environment(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        sizes = [size for size in (1, 10, 100) if size <= options.largest]
        shops = [(100_000 * size, 10_000 * size, MILLION * size) for size in sizes]
        if sizes or options.catalogues:
            learned(folder, (1_000, 100, 10_000), environment, options.threads)  # compiles the kernels
        if sizes:
            tell("The shop grows", [learned(folder, shop, environment, options.threads) for shop in shops])
        if options.catalogues:
            shops = [(100_000, products, MILLION) for products in (10_000, 100_000, MILLION)]
            tell(
                "The catalogue alone", [learned(folder, shop, environment, options.threads) for shop in shops]
            )
        if options.serve:
            served(folder, environment)
    print(
        f"\n{options.threads} threads, default settings, one run each; an epoch is of the last training. {machine()}"
    )


def write_log(folder: Path, users: int, products: int, purchases: int) -> Path:
    """Write a log of clusters of a hundred products; most of a user's purchases come from three of them."""
    folder.mkdir()
    tastes = tastes_of(users, products)
    for number, low in enumerate(range(0, purchases, AT_ONCE)):
        rng, count = np.random.default_rng([2, number]), min(AT_ONCE, purchases - low)
        user = np.minimum((rng.random(count) ** 1.5 * users).astype(np.int64), users - 1)
        frame = pl.DataFrame({"user_id": user, "product_id": bought(user, tastes, products, rng)})
        frame.write_parquet(folder / f"{number:03}.parquet")
    return folder


def tastes_of(users: int, products: int) -> np.ndarray:
    """Return the three clusters of each user, ``int32[users, 3]``."""
    return np.random.default_rng(1).integers(0, max(8, products // 100), (users, 3), dtype=np.int32)


def bought(user: np.ndarray, tastes: np.ndarray, products: int, rng: np.random.Generator) -> np.ndarray:
    """Return what each of these users buys once: mostly from the clusters of their tastes, popular products more often."""
    count = len(user)
    cluster = tastes[user, rng.integers(0, 3, count)]
    near = (cluster * 100 + (rng.random(count) ** 2 * 100).astype(np.int64)) % products
    far = (rng.random(count) ** 3 * products).astype(np.int64)
    return np.where(rng.random(count) < 0.8, near, far)


def learned(
    folder: Path, shop: tuple[int, int, int], environment: dict[str, str], threads: int
) -> dict[str, Any]:
    """Train on a log of this size and write all lists, each in a fresh process; return what they took."""
    name = "-".join(map(str, shop))
    log, model, lists = write_log(folder / f"log-{name}", *shop), folder / f"model-{name}", folder / "lists"
    command = [sys.executable, "-m", "tastemaker"]
    train = [*command, "train", str(log), "--out", str(model), "--threads", str(threads), "--json"]
    run: dict[str, Any] = run_json(train, environment)
    began = time.perf_counter()
    run["lists"] = run_json(
        [
            *command,
            "recommend",
            str(model),
            "--all-users",
            "--out",
            str(lists),
            "--workers",
            "local:2",
            "--json",
        ],
        environment,
    )
    run |= {"shop": shop, "list seconds": time.perf_counter() - began}
    for one in (log, model, lists):
        for file in one.iterdir():
            file.unlink()
        one.rmdir()
    return run


def run_json(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def tell(title: str, runs: list[dict[str, Any]]) -> None:
    rows = []
    for run in runs:
        users, products, purchases = run["shop"]
        epoch = 1e6 * statistics.median(one["seconds"] for one in run["epochs"]) / purchases
        rows.append(
            [
                f"{purchases:,}",
                f"{users:,}",
                f"{products:,}",
                f"{sum(run['seconds'].values()):,.0f}",
                f"{1e6 * sum(run['seconds'].values()) / purchases:.1f}",
                f"{epoch:.2f}",
                str(len(run["epochs"])),
                f"{run['peak_memory_bytes'] / MIB:,.0f}",
                f"{1e6 * run['list seconds'] / users:.1f}",
            ]
        )
    names = ["purchases", "users", "products", "read, train, write, s", "µs a purchase"]
    more = ["µs a purchase and epoch", "epochs", "peak memory, MiB", "lists of ten, µs a user"]
    print(f"\n{title}:\n\n{markdown([*names, *more], rows)}", flush=True)


SAVE = """
import sys, numpy as np, polars as pl, tastemaker as tm
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.record import TrainingRecord
users, products, dimensions, each = int(sys.argv[2]), int(sys.argv[3]), 64, 5
ids = pl.Series("id", np.arange(users) + 10**8)  # as text they ascend, too
ids = ids.cast(pl.String) + "-customer" if sys.argv[4] == "text" else ids
rng = np.random.default_rng(0)
vectors = rng.standard_normal((products, dimensions), dtype=np.float32)
if sys.argv[5] == "as learned":  # the shares of their squares that directions hold of the vectors learned on ASOS
    held = np.interp(np.arange(65) / 64, [0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1], [0, .507, .654, .803, .932, .980, 1])
    vectors *= np.sqrt(np.diff(held) * dimensions).astype(np.float32)
steps = rng.integers(1, products // each, (users, each), dtype=np.int32)  # ascending, none twice
bought = (steps.cumsum(axis=1, dtype=np.int32) - 1).ravel()
model = tm.TasteModel(
    users=Vocabulary(ids, "user"),
    products=Vocabulary(pl.Series("id", np.arange(products)), "product"),
    histories=Histories(np.arange(users + 1, dtype=np.int64) * each, bought),
    product_vectors=vectors, product_bias=np.zeros(products, np.float32), user_vectors=None, basket_vectors=vectors,
    memory=None, record=TrainingRecord(tm.preset("default").changed({"dimensions": dimensions}), 0, "0" * 64, len(bought), (), {}),
)
tm.save(model, sys.argv[1])
"""


STARTS = 3
"""Times each server is started"""

ASKED = 200
"""Users who get a list before memory is measured"""


def served(folder: Path, environment: dict[str, str]) -> None:
    """Start servers of a thousand and of 10 million users; print what start and memory are."""
    rows, software = [], 0
    few, many = (1_000, 5_000, "numbers", "as learned"), (10 * MILLION, MILLION)
    others = [(*many, "numbers", "as learned"), (*many, "text", "as learned"), (*many, "numbers", "even")]
    for number, (users, products, ids, directions) in enumerate((few, few, *others)):
        models = folder / f"models-{number if number > 1 else 0}"
        if not models.exists():
            (models / "recommender").mkdir(parents=True)
            target = str(models / "recommender" / "1")
            command = ["-c", SAVE, target, str(users), str(products), ids, directions]
            if subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL).returncode:
                raise SystemExit("the model could not be saved.")
        ending = "-customer" if ids == "text" else ""
        starts = [serving(models, users, ending, environment) for _ in range(STARTS)]
        _, first, held, mapped = starts[-1]
        seconds = [one[0] for one in starts]
        if number:
            shutil.rmtree(models)  # a gigabyte
        if not number:
            continue  # that server compiled the kernels
        software = software or held
        vectors = 4 * 64 * products
        told = "" if users == 1_000 else f"{(held - software) / vectors:.2f}"
        parts = ", ".join(f"{name} {size / MIB:,.0f}" for name, size in mapped.items() if size > 5 * MIB)
        rows.append(
            [
                f"{users:,}",
                ids,
                directions,
                f"{statistics.median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f})",
                f"{1000 * first:.0f}",
                f"{held / MIB:,.0f}",
                told,
                parts,
            ]
        )
    names = ["users", "ids", "directions", "ready after, s", "first list, ms", "memory of all processes, MiB"]
    more = ["beyond the first row, times the vectors", "of which files, MiB"]
    print(f"\nServing, two workers, after {ASKED} lists:\n\n{markdown([*names, *more], rows)}", flush=True)


def serving(
    models: Path, users: int, ending: str, environment: dict[str, str]
) -> tuple[float, float, int, dict[str, int]]:
    """Return the seconds until a server was ready and of its first list, its memory in bytes, and that of each array it maps.

    Users' ids are numbers from 100,000,000 on, with an ``ending``.
    """
    began = time.perf_counter()
    command = ["-m", "tastemaker", "serve", str(models), "--port", "8877", "--workers", "2"]
    server = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        while not ready("http://127.0.0.1:8877/readyz"):
            if server.poll() is not None or time.perf_counter() - began > 300:
                raise SystemExit("the server did not start.")
            time.sleep(0.05)
        seconds, asked = time.perf_counter() - began, []
        for number in range(ASKED):
            start = time.perf_counter()
            user = f"{10**8 + number * 7_654_321 % users}{ending}"
            address = f"http://127.0.0.1:8877/api/v1/recommendations/users/{user}"
            with urllib.request.urlopen(address) as answer:
                answer.read()
            asked.append(time.perf_counter() - start)
        while any("neighbour_table" in told_of(one, "cmdline") for one in children(server.pid)):
            time.sleep(0.1)  # a process that ends when it has written the neighbours of all products
        return seconds, asked[0], *proportional_memory(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def told_of(process: int, what: str) -> str:
    """Return what the system tells of a process; nothing where it has ended."""
    try:
        return Path("/proc", str(process), what).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def proportional_memory(process: int) -> tuple[int, dict[str, int]]:
    """Return the memory of a process and its children, files that are mapped counted, and that of each mapped array.

    What processes share is counted once.
    """
    total, arrays, name = 0, dict[str, int](), ""
    for one in [process, *children(process)]:
        for line in told_of(one, "smaps").splitlines():
            if line.startswith("Pss:"):
                size = 1024 * int(line.split()[1])
                total += size
                if name.endswith(".npy"):
                    arrays[name[:-4]] = arrays.get(name[:-4], 0) + size
            elif not line.split()[0].endswith(":"):  # the first line of a mapping
                name = line.rsplit("/", 1)[-1]
    return total, arrays


def children(process: int) -> list[int]:
    found = []
    for task in os.listdir(f"/proc/{process}/task"):
        for child in map(int, told_of(process, f"task/{task}/children").split()):
            found += [child, *children(child)]
    return found


if __name__ == "__main__":
    main()
