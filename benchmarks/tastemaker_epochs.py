"""The workshop's preset in tastemaker: a worker of `workshop_epoch.py` and `throughput.py`; it trains an epoch when asked."""

from __future__ import annotations

import argparse
import time

import numpy as np
import polars as pl

import tastemaker as tm
from common import questions
from tastemaker.training.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("arrays")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    log = np.load(options.arrays)
    purchases = tm.Purchases(
        tm.Vocabulary(pl.int_range(int(log["users"]), eager=True), "user"),
        tm.Vocabulary(pl.int_range(int(log["products"]), eager=True), "product"),
        log["user_rows"],
        log["product_rows"],
    )
    changes: dict[str, object] = {"epochs": options.epochs}
    for name in ("dimensions", "negatives", "batch"):
        changes[name] = int(log[name])
    changes["learning_rate"] = float(log["learning_rate"])
    with questions() as (wait, answer):
        began = 0.0
        last: Progress | None = None

        def tell() -> None:
            if last is not None:  # nothing to tell before the first epoch
                answer(seconds=time.perf_counter() - began, loss=last.loss, accuracy=last.accuracy)

        def watch(step: Progress) -> None:  # an epoch ends when the next begins: its checks are timed with it
            nonlocal began, last
            if step.done == 0 and not step.compiling:
                tell()
                wait()
                began = time.perf_counter()
            last = step

        tm.train(purchases, tm.preset("workshop").changed(changes), threads=options.threads, progress=watch)
        tell()


if __name__ == "__main__":
    main()
