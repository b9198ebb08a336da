"""A warm start on a log that has grown, against training from scratch: ``python benchmarks/warm_start.py``.

A tenth of a log, drawn at random, is held out and measured on; four fifths of the rest are the older log, all of the rest the
longer one, with users and products that the older one lacks. The logs are ASOS's train (its file for validation is not opened) and
a denser synthetic shop. The ways to a model of the longer log take turns; a small training before them compiles the kernels and
is not timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

import tastemaker as tm
from common import add_data_options, machine, markdown, parser_of, read_log, spread
from tastemaker.training.warm_start import warm_settings

HELD_OUT, OLDER = 0.1, 0.8
WARM = "warm start (`--start-from`)"


@dataclass
class Way:
    """A way to a model of the longer log, and what was measured of it."""

    make: Callable[[int], tm.TasteModel]
    seconds: list[float] = field(default_factory=list)
    ndcg: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


def main() -> None:
    parser = parser_of(__doc__, rounds=3, threads=2)
    add_data_options(parser)
    options = parser.parse_args()
    tm.train(tm.make_shop(users=200, products=60, purchases=1_500).purchases, tm.preset("default"))
    name = "synthetic, sparse" if options.synthetic else "ASOS, train"
    dense = tm.make_shop(users=6_000, products=3_000, purchases=120_000, seed=3).purchases
    for title, log in ((name, read_log(options)), ("synthetic, dense", dense)):
        print(one_log(title, log, options.rounds, options.threads), end="\n\n")
    print(
        f"{options.threads} threads, {options.rounds} seeds, the ways in turns; median (least–greatest). {machine()}"
    )


def one_log(title: str, log: tm.Purchases, rounds: int, threads: int) -> str:
    """Return a table and what was measured."""
    older, longer, held = parts(log)
    old = tm.train(older, tm.preset("default"), threads=threads)
    settings = warm_settings(old, {})

    def learn(config: tm.Config, seed: int, start_from: tm.TasteModel | None = None) -> tm.TasteModel:
        return tm.train(longer, config, seed=seed, threads=threads, start_from=start_from)

    ways = {
        "the older model, nothing trained (`--with-purchases`)": Way(lambda _: tm.joined(old, longer)),
        "from scratch, settings choose themselves": Way(lambda seed: learn(tm.preset("default"), seed)),
        "from scratch, the older model's settings": Way(lambda seed: learn(settings, seed)),
        WARM: Way(lambda seed: learn(settings, seed, old)),
    }
    for seed in range(rounds):
        for way in ways.values():
            began = time.perf_counter()
            model = way.make(seed)
            way.seconds.append(time.perf_counter() - began)
            measured = tm.read_held_out(held, model.users, model.products).purchases
            way.ndcg.append(tm.evaluate(model, measured, at=(100,), threads=threads).metrics["ndcg@100"].mean)
            way.epochs.append(len(model.record.epochs) if model.record.purchases == len(longer) else 0)
    return (
        f"{table(title, ways)}\n\nFrom {len(older):,} to {len(longer):,} purchases, {len(older.users):,} to "
        f"{len(longer.users):,} users, {len(older.products):,} to {len(longer.products):,} products; "
        f"{len(held):,} purchases are held out."
    )


def table(title: str, ways: dict[str, Way]) -> str:
    """Return the rows; times are compared with the warm start's."""
    base = statistics.median(ways[WARM].seconds)
    rows = [
        [
            name,
            spread(way.epochs, 0) if any(way.epochs) else "",
            spread(way.seconds),
            f"{statistics.median(way.seconds) / base:.2f}",
            spread(way.ndcg, 4),
        ]
        for name, way in ways.items()
    ]
    return markdown([title, "epochs", "seconds", "times the warm start's", "ndcg@100"], rows)


def parts(log: tm.Purchases) -> tuple[tm.Purchases, tm.Purchases, pl.DataFrame]:
    """Return the older log, the longer one, and the purchases that neither holds."""
    frame = pl.DataFrame(
        {"user_id": log.users.at(log.user_rows), "product_id": log.products.at(log.product_rows)}
    )
    place = pl.Series(np.random.default_rng(0).random(len(frame)))
    older = frame.filter(place < OLDER * (1 - HELD_OUT))
    longer = frame.filter(place < 1 - HELD_OUT)
    return tm.read_purchases(older), tm.read_purchases(longer), frame.filter(place >= 1 - HELD_OUT)


if __name__ == "__main__":
    main()
