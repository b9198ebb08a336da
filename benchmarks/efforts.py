"""Quality, time and memory of every effort on every public log: ``python benchmarks/efforts.py --log yelp2018``.

A model is learned by ``tastemaker train`` with each effort and each seed, and measured by ``tastemaker evaluate`` on the log's test
part, which nothing is chosen on. Each run is a process of its own, in turns with implicit's ALS (128 factors, 15 iterations, its
other settings at their defaults), which sees the pairs of purchases alone. Of tastemaker's the time of the whole process counts:
start of Python, reading, choosing on a part held out, training, writing. Of ALS only its import and its fit. All kernels are
compiled before, and modules to bytecode, as an install does. Processor time is told beside the clock's, since other jobs of the
machine change it little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import logs_with_more
import tastemaker as tm
from common import data_folder, machine, markdown, missing, parser_of, ratios, spread, thread_environment

ALS = """
import sys, time, tastemaker as tm
log = tm.read_purchases(sys.argv[1])
began, busy = time.perf_counter(), time.process_time()
model = tm.als(log, factors=128, iterations=15, seed=int(sys.argv[4]), threads=int(sys.argv[3]))
print(time.perf_counter() - began, time.process_time() - busy)
tm.save(model, sys.argv[2])
"""
RIVAL = "implicit's ALS"
EFFORTS = ("quick", "standard", "thorough")
EVENTS = ["--event-column", "event", "--event", "purchase=purchase", "--event", "view=view", "--event", "cart=cart"]  # fmt: skip
RENTALS = ["--user-column", "user_id", "--product-column", "item_id", "--time-column", "review_date"]


@dataclass(frozen=True)
class Log:
    """A log in two parts, and how it is read, learned from and measured."""

    train: str
    test: str
    metrics: Sequence[str]
    read: Sequence[str] = ()
    learn: Sequence[str] = ()
    measure: Sequence[str] = ()
    pair: tuple[str, str] = ("user_id", "product_id")
    published: str = ""


LOGS = {
    "asos": Log(
        "asos/dsf_asos_train_with_alphanumeric_dummy_ids.parquet",
        "asos/dsf_asos_valid_with_alphanumeric_dummy_ids.parquet",
        ("recall@10", "recall@100", "ndcg@100"),
        pair=("dummyUserId", "productId"),
    ),
    "yelp2018": Log(
        "yelp2018/train.parquet",
        "yelp2018/test.parquet",
        ("recall@20", "ndcg@20"),
        published="LightGCN .0653/.0532, EASE .0657/.0552, GF-CF .0697/.0571, SimpleX .0701/.0575, LightGCN + BSL .0744; "
        "most of them chose their epoch on the test part.",
    ),
    "beauty": Log(
        "beauty/train.parquet",
        "beauty/test.parquet",
        ("recall@10", "ndcg@10"),
        published="SASRec .0605/.0318, TIGER .0648/.0384, SASRec with sampled softmax .0921/.0531, eSASRec .0928/.0523.",
    ),
    "rent_the_runway": Log(
        "parts/rent_the_runway_train.parquet",
        "parts/rent_the_runway_later.parquet",
        ("ndcg@100", "hit_rate@10"),
        RENTALS,
        [
            *("--products", "parts/rent_the_runway_products.parquet", "--product-features", "category"),
            *("--context", "rented_for,age,height_in,body_type,size"),
        ],
        ["--replay"],
        ("user_id", "item_id"),
    ),
    "online_retail": Log(
        "parts/online_retail_train.parquet",
        "parts/online_retail_later.parquet",
        ("ndcg@100", "hit_rate@10"),
        (),
        ["--products", "parts/online_retail_products.parquet", "--product-features", "Description,UnitPrice"],
        ["--replay"],
        ("CustomerID", "StockCode"),
    ),
    "retailrocket_small": Log(
        "parts/retailrocket_train.parquet",
        "parts/retailrocket_later.parquet",
        ("ndcg@10", "hit_rate@10"),
        EVENTS,
        ["--products", "parts/retailrocket_products.parquet", "--users", "parts/retailrocket_users.parquet"],
        ["--replay", "--include-purchased"],
    ),
}


@dataclass(frozen=True)
class Run:
    """What one way to learn took and reached."""

    seconds: float
    processor: float
    mebibytes: float
    """The most that the process held"""
    metrics: dict[str, dict[str, float]]


def main() -> None:
    parser = parser_of(__doc__, seeds=1, threads=2)
    parser.add_argument("--data", type=Path, help="the folder of the data sets (default: TASTEMAKER_DATA)")
    parser.add_argument("--log", action="append", choices=LOGS, help="default: each of them")
    parser.add_argument("--effort", action="append", choices=EFFORTS, help="default: each of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder=Path(folder), data=existing(data_folder(options.data)), threads=options.threads)
        logs_with_more.DATA = place.data
        compile_cosines(options.threads)
        for name in options.log or LOGS:
            say(name)
            print("\n".join(table(name, place, options)), flush=True)
    print(
        f"{options.threads} threads, {options.seeds} seeds in turns; time and memory: median (least–greatest). {machine()}"
    )


def compile_cosines(threads: int) -> None:
    """Learn a small shop by what only `thorough` tries."""
    shop = tm.make_shop(users=300, products=400, purchases=12_000).purchases
    settings = tm.preset("default").changed(dimensions=8, epochs=1, horizon=1, spectral_weight=1.0)
    tm.train(shop, settings.changed(objective="cosine"), threads=threads)


@dataclass(frozen=True)
class Place:
    """Where runs read and write."""

    folder: Path
    data: Path
    threads: int

    def file(self, name: str) -> str:
        """Return a file of the public logs, or of the parts that are made of them."""
        if not name.startswith("parts/"):
            return str(self.data / name)
        parts = self.folder / "parts"
        if not parts.exists():
            logs_with_more.main(parts)
        return str(self.folder / name)

    def flags(self, words: Sequence[str]) -> list[str]:
        """Return flags with the files that they name."""
        return [self.file(word) if word.startswith("parts/") else word for word in words]


def existing(folder: Path) -> Path:
    if not folder.is_dir():
        missing(f"there is no folder {folder}; give the folder of the data sets as `--data DIR`.")
    return folder


def table(name: str, place: Place, options: argparse.Namespace) -> list[str]:
    log, names = LOGS[name], [*(options.effort or EFFORTS), RIVAL]
    runs: dict[str, list[Run]] = {effort: [] for effort in names}
    learned(log, "standard", 0, place)  # compiles
    for seed in range(options.seeds):
        for effort in names:
            run = fitted(log, seed, place) if effort == RIVAL else learned(log, effort, seed, place)
            runs[effort].append(run)
            say(f"{effort} {seed} {run.seconds:.1f} {run.processor:.1f} {run.mebibytes:.0f} {run.metrics}")
    rows = []
    als = runs[RIVAL]
    for effort, found in runs.items():
        wall, processor = [run.seconds for run in found], [run.processor for run in found]
        memory = [run.mebibytes for run in found]
        rows.append([
            effort,
            spread(wall, 1),
            "1" if effort == RIVAL else spread(ratios(wall, [run.seconds for run in als])),
            spread(processor, 1),
            "1" if effort == RIVAL else spread(ratios(processor, [run.processor for run in als])),
            spread(memory, 0),
            *(shown([run.metrics.get(metric) for run in found]) for metric in log.metrics),
        ])  # fmt: skip
    header = ["", "seconds", "times ALS", "processor time", "times ALS", "peak, MiB", *log.metrics]
    end = [f"Published: {log.published}\n"] if log.published else []
    return [f"**{name}**\n", markdown(header, rows), "", *end]


def learned(log: Log, effort: str, seed: int, place: Place) -> Run:
    """Learn and measure by the command line."""
    out = place.folder / f"{effort}-{seed}-{time.time_ns()}"
    reading = place.flags(log.read)
    train = ["train", place.file(log.train), *reading, *place.flags(log.learn), "--out", str(out)]
    train += ["--threads", str(place.threads), "--seed", str(seed), "--effort", effort]
    began = time.perf_counter()
    used, _ = ran([sys.executable, "-m", "tastemaker", *train], place.threads)
    wall = time.perf_counter() - began
    at = {word.rpartition("@")[2] for word in log.metrics}
    command = ["evaluate", str(out), place.file(log.test), *reading, *log.measure, "--json"]
    command += [word for length in sorted(at, key=int) for word in ("--at", length)]
    _, report = ran([sys.executable, "-m", "tastemaker", *command], place.threads)
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, json.loads(report)["metrics"])


def ran(command: Sequence[str], threads: int) -> tuple[Any, str]:
    """Run a command and return what it used and what it printed."""
    environment = thread_environment(threads)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else a checkout's modules are compiled at every start
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(list(command), env=environment, stdout=printed, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        said.seek(0)
        if process.returncode:
            missing(f"`{' '.join(command)}` ended with code {process.returncode}: {said.read()[-2000:]}")
        return used, printed.read()


def fitted(log: Log, seed: int, place: Place) -> Run:
    """Fit ALS on the pairs of purchases, and measure it where users are asked for rather than purchases."""
    pairs, out = place.folder / "pairs.parquet", place.folder / f"als-{time.time_ns()}"
    frame = pl.read_parquet(place.file(log.train))
    if "event" in frame.columns:
        frame = frame.filter(pl.col("event") == "purchase")
    frame.select(*(pl.col(log.pair[n]).alias(("user_id", "product_id")[n]) for n in (0, 1))).write_parquet(
        pairs
    )
    command = [sys.executable, "-c", ALS, str(pairs), str(out), str(place.threads), str(seed)]
    used, printed = ran(command, place.threads)
    wall, processor = map(float, printed.split())
    memory = used.ru_maxrss / 1024
    if log.measure:
        return Run(wall, processor, memory, {})
    model = tm.load(out)
    held_out = tm.read_held_out(place.file(log.test), model.users, model.products).purchases
    at = sorted({int(metric.rpartition("@")[2]) for metric in log.metrics})
    report = tm.evaluate(model, held_out, at=at, threads=place.threads)
    return Run(wall, processor, memory, {
        name: {"mean": one.mean, "low": one.low, "high": one.high} for name, one in report.metrics.items()
    })  # fmt: skip


def shown(found: Sequence[dict[str, float] | None]) -> str:
    """Return the mean over seeds: with its range, or of one seed with the interval over users."""
    means = [one["mean"] for one in found if one is not None]
    if not means:
        return ""
    low, high = min(means), max(means)
    if len(means) == 1 and found[0] is not None:
        low, high = found[0]["low"], found[0]["high"]
    least, middle, greatest = (f"{x:.4f}".lstrip("0") for x in (low, statistics.mean(means), high))
    return f"{middle} ({least}–{greatest})"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
