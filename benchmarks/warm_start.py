"""A warm start on a log that has grown, against training from scratch: ``python benchmarks/warm_start.py``.

A tenth of the ASOS train log, drawn at random, is held out and measured on; four fifths of the rest are the older log, all
of the rest the longer one, with users and products that the older one lacks. The ASOS file for validation is
not opened. The ways to a model of the longer log take turns; a small training before them compiles the kernels and is not timed.
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
    epochs: str = ""


def main() -> None:
    parser = parser_of(__doc__, rounds=3, threads=2)
    add_data_options(parser)
    options = parser.parse_args()
    older, longer, held = parts(read_log(options))
    tm.train(tm.make_shop(users=200, products=60, purchases=1_500).purchases, tm.preset("default"))
    old = tm.train(older, tm.preset("default"), threads=options.threads)
    settings = warm_settings(old, {})

    def learn(config: tm.Config, seed: int, start_from: tm.TasteModel | None = None) -> tm.TasteModel:
        return tm.train(longer, config, seed=seed, threads=options.threads, start_from=start_from)

    ways = {
        "the older model, nothing trained (`--with-purchases`)": Way(lambda _: tm.joined(old, longer)),
        "from scratch, settings choose themselves": Way(lambda seed: learn(tm.preset("default"), seed)),
        "from scratch, the older model's settings": Way(lambda seed: learn(settings, seed)),
        WARM: Way(lambda seed: learn(settings, seed, old)),
    }
    for seed in range(options.rounds):
        for way in ways.values():
            began = time.perf_counter()
            model = way.make(seed)
            way.seconds.append(time.perf_counter() - began)
            measured = tm.evaluate(
                model,
                tm.read_held_out(held, model.users, model.products).to_measure,
                at=(100,),
                threads=options.threads,
            )
            way.ndcg.append(measured.metrics["ndcg@100"].mean)
            way.epochs = str(len(model.record.epochs)) if model.record.purchases == len(longer) else ""
    print(table(ways))
    print(
        f"\nFrom {len(older):,} to {len(longer):,} purchases, {len(older.users):,} to {len(longer.users):,} users, "
        f"{len(older.products):,} to {len(longer.products):,} products; ndcg@100 of {len(held):,} held-out purchases; "
        f"{options.threads} threads, {options.rounds} seeds, in turns; median (least–greatest). {machine()}"
    )


def table(ways: dict[str, Way]) -> str:
    """Return the rows; times are compared with the warm start's."""
    base = statistics.median(ways[WARM].seconds)
    rows = [
        [
            name,
            way.epochs,
            spread(way.seconds),
            f"{statistics.median(way.seconds) / base:.2f}",
            spread(way.ndcg, 4),
        ]
        for name, way in ways.items()
    ]
    return markdown(["", "epochs", "seconds", "times the warm start's", "ndcg@100"], rows)


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
