"""Dense histories of few products, quality by effort: ``python benchmarks/dense_histories.py``.

Two logs are cut out of larger ones: the 3,000 products with the most buyers of yelp2018's `train.parquet` and the 6,000 users with
the most of these, and 2,500 products and 1,500 customers of Online Retail's first nine tenths, without their times. A random fifth
of each user's products is held out of them and measured; settings are judged here, and test files are not read. Processor time is
told beside that of implicit's ALS (128 factors, 15 iterations), all kernels compiled before.

``--file`` takes another log of pairs in their place, such as MovieLens, and ``--rivals`` puts the rules and models of others beside
ours: the best of their grid on a fifth of each user's products held out of what is learned from, measured once.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

import tastemaker as tm
from common import data_folder, machine, markdown, missing, parser_of
from quality import Part, held_out_of, interval, others, shown, tuned
from tastemaker.evaluation.protocol import report_of

T = TypeVar("T")

EFFORTS = ("quick", "standard", "thorough")
LOGS = {"yelp2018": (6_000, 3_000), "online_retail": (1_500, 2_500)}
AT = (20, 100)
METRICS = ("recall@20", "ndcg@20", "ndcg@100")


def main() -> None:
    parser = parser_of(__doc__, seeds=1, threads=1, trials=20)
    parser.add_argument("--data", type=Path, help="the folder of the data sets (default: TASTEMAKER_DATA)")
    parser.add_argument("--log", action="append", choices=LOGS, help="default: each of them")
    parser.add_argument("--file", action="append", type=Path, help="a log of your own in the place of these")
    parser.add_argument("--rivals", action="store_true", help="the rules and models of others, too")
    parser.add_argument("--effort", action="append", choices=EFFORTS, help="default: each of them")
    options = parser.parse_args()
    tm.train(
        tm.make_shop(users=300, products=400, purchases=12_000).purchases, effort="thorough", dimensions=8
    )
    rows = []
    for name, log in logs(options):
        split = tm.hold_out_random(log, 0.2, rng=np.random.default_rng(7))
        busy, model = timed(
            lambda log=split.train: tm.als(log, factors=128, iterations=15, threads=options.threads)
        )
        rows.append(ours(f"{name}, implicit's ALS", model, split, options, busy, busy))
        for effort in options.effort or EFFORTS:
            for seed in range(options.seeds):
                settings = tm.preset("default", effort=effort)
                taken, model = timed(
                    lambda log=split.train, settings=settings, seed=seed: tm.train(
                        log, settings, seed=seed, threads=options.threads
                    )
                )
                rows.append(ours(f"{name}, {effort}", model, split, options, taken, busy))
        rows += rivals_of(name, split, options, busy) if options.rivals else []
    print(markdown(["", "processor time", "times ALS", *METRICS, "chosen"], rows))
    print(f"\n{options.threads} threads. {machine()}")


def logs(options: argparse.Namespace) -> Iterator[tuple[str, tm.Purchases]]:
    """Give the logs by their names: the files of your own, or what is cut out of larger ones."""
    for file in options.file or []:
        pairs = tm.read_purchases(file)
        yield file.stem, dataclasses.replace(pairs, times=None)
    for name in [] if options.file else options.log or LOGS:
        yield name, tm.read_purchases(densest(pairs_of(name, data_folder(options.data)), *LOGS[name]))


def pairs_of(name: str, folder: Path) -> pl.DataFrame:
    """Return the distinct pairs that may be learned from here: no row of a test part."""
    file = folder / name / ("train.parquet" if name == "yelp2018" else "online_retail.parquet")
    if not file.is_file():
        missing(f"there is no {file}; give the folder that holds {name}/ as `--data DIR`.")
    frame = pl.read_parquet(file)
    if name == "online_retail":
        frame = frame.filter((pl.col("CustomerID") > 0) & (pl.col("Quantity") > 0))
        first, last = frame["InvoiceDate"].min(), frame["InvoiceDate"].max()
        frame = frame.filter(pl.col("InvoiceDate") <= last - (last - first) * 0.1)  # type: ignore[operator]
        frame = frame.rename({"CustomerID": "user_id", "StockCode": "product_id"})
    return frame.select("user_id", "product_id").unique().sort("user_id", "product_id")


def densest(pairs: pl.DataFrame, users: int, products: int) -> pl.DataFrame:
    """Keep the products with the most buyers, and of these pairs the users with the most products."""
    for column, most in (("product_id", products), ("user_id", users)):
        counts = pairs.group_by(column).len().sort("len", column, descending=True).head(most)
        pairs = pairs.join(counts.select(column), on=column, maintain_order="left")
    return pairs


def timed(learn: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    model = learn()
    return time.process_time() - began, model


def rivals_of(name: str, split: tm.Split, options: argparse.Namespace, busy: float) -> Iterator[list[object]]:
    """Give the rows of the others, each tuned inside what is learned from."""
    whole, part = Part(split.train, split.held_out, ""), held_out_of(split.train)
    users, wanted = whole.wanted(False)
    for rival in others(split.train, options):
        setting = dict(next(iter(tuned(rival, part, [False]))))
        taken, ranker = timed(lambda rival=rival, setting=setting: rival.learn(split.train, setting))
        report = report_of(ranker(users, False), wanted, at=AT, products=len(split.train.products), seed=0)
        yield row(f"{name}, {rival.name}", report, shown(setting), taken, busy)


def ours(
    name: str, model: tm.TasteModel, split: tm.Split, options: argparse.Namespace, taken: float, busy: float
) -> list[object]:
    """Return the row of a model, and what its training chose."""
    config, chosen = model.record.config, ""
    if config is not None:
        taste, memory = config.taste, config.memory
        chosen = f"{taste.objective} {taste.dimensions}, ridge {memory.ridge_weight:g}, spectral {memory.spectral_weight:g}"
        chosen += f", temperature {taste.temperature:g}" if taste.objective == "cosine" else ""
    return row(name, tm.evaluate(model, split.held_out, at=AT, threads=options.threads), chosen, taken, busy)


def row(name: str, report: tm.Report, chosen: str, taken: float, busy: float) -> list[object]:
    measured = [interval(report.metrics[metric]) for metric in METRICS]
    return [name, f"{taken:.1f}", f"{taken / busy:.1f}", *measured, chosen]


if __name__ == "__main__":
    main()
