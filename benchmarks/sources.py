"""Whether each source helps where it tells and harms nowhere: order, attributes, contexts and views, planted and shuffled.

python benchmarks/sources.py [--users U] [--products P] [--purchases N] [--seeds S]

Each log is a synthetic year. A source is planted, or the same source shuffled, so that it tells nothing. The last tenth of the
time is replayed by the default, which sees all of it, and by one that sees pairs alone, as the default did before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

import tastemaker as tm
from common import machine, markdown, parser_of
from tastemaker.data.reading.options import Reading
from tastemaker.evaluation.replay.report import gains, parts_of

YEAR, KINDS = 365 * 86_400_000_000, 20
PAIRS = {
    "order.taste_places": 0.0, "order.taste_days": 0.0, "order.memory_places": 0.0, "order.memory_days": 0.0,
    "memory.directed_weight": 0.0, "live.rate": 0.0, "live.fold_in": 0.0, "live.dial": 0.0, "live.young": 0.0,
}  # fmt: skip

PLAIN = Reading()


@dataclass(frozen=True, slots=True)
class World:
    """A log, what is known of its products, and how both are read."""

    log: pl.DataFrame
    products: pl.DataFrame | None = None
    reading: Reading = PLAIN


def base(given: argparse.Namespace, seed: int, *, drift: float = 0.0, late: float = 0.0) -> World:
    """Return users with a kind of product each, which ``drift`` of their purchases follow as it changes through the year.

    ``late`` is the share of products that are sold only from a moment of the year on. The column ``kind`` is the product's.
    """
    rng = np.random.default_rng(seed)
    kinds, weight = rng.integers(0, KINDS, given.products), 1 / (1 + rng.permutation(given.products)) ** 0.7
    since = np.where(rng.random(given.products) < late, rng.random(given.products), 0.0)
    users = rng.integers(0, given.users, given.purchases)
    moments = np.sort(rng.random(given.purchases))
    own = rng.integers(0, KINDS, given.users)
    wanted = (own[users] + (moments * 6 * (drift > 0)).astype(int)) % KINDS
    wanted = np.where(rng.random(given.purchases) < 0.7, wanted, rng.integers(0, KINDS, given.purchases))
    rows = np.empty(given.purchases, np.int64)
    for kind in range(KINDS):
        some, members = np.flatnonzero(wanted == kind), np.flatnonzero(kinds == kind)
        chances = np.cumsum(weight[members]) / weight[members].sum()
        rows[some] = members[np.searchsorted(chances, rng.random(len(some)))]
    there = since[rows] <= moments
    log = pl.DataFrame({"user_id": users, "product_id": rows, "time": (moments * YEAR).astype(np.int64)})
    log = log.with_columns(pl.col("time").cast(pl.Datetime("us")), kind=pl.Series(kinds[rows]))
    products = pl.DataFrame({"product_id": np.arange(given.products), "kind": kinds})
    return World(log.filter(pl.Series(there)), products)


def order(given: argparse.Namespace, seed: int, *, tells: bool) -> World:
    """Let tastes change six times a year and products follow one another, or shuffle each user's times."""
    world, rng = base(given, seed, drift=1.0), np.random.default_rng(seed + 1)
    log = world.log.drop("kind").sort("user_id", "time")
    rows, users = log["product_id"].to_numpy().copy(), log["user_id"].to_numpy()
    follows = rng.permutation(given.products)
    for place in np.flatnonzero((users[1:] == users[:-1]) & (rng.random(len(log) - 1) < 0.3)) + 1:
        rows[place] = follows[rows[place - 1]]
    log = log.with_columns(product_id=pl.Series(rows))
    if not tells:
        log = log.with_columns(pl.col("time").shuffle(seed).over("user_id"))
    return World(log.sort("time"))


def attributes(given: argparse.Namespace, seed: int, *, tells: bool) -> World:
    """Let a third of the products come late, and the catalogue tell the kind of each, or the kind of another."""
    world, rng = base(given, seed, late=0.33), np.random.default_rng(seed + 1)
    products = world.products
    assert products is not None
    products = products.with_columns(
        pl.col("kind").cast(pl.String), size=pl.Series(rng.integers(0, 5, len(products))).cast(pl.String)
    )
    if not tells:
        products = products.with_columns(pl.col("kind").shuffle(seed))
    return World(world.log.drop("kind"), products, Reading(product_features=("kind", "size")))


def contexts(given: argparse.Namespace, seed: int, *, tells: bool) -> World:
    """Let the occasion of four purchases in five go with the kind of product, or shuffle the occasions."""
    world, rng = base(given, seed), np.random.default_rng(seed + 1)
    count = len(world.log)
    noise = pl.Series(rng.integers(0, 7, count))
    occasion = pl.when(pl.Series(rng.random(count) < 0.8)).then(pl.col("kind") % 7).otherwise(noise)
    log = world.log.with_columns(occasion=occasion.cast(pl.String)).drop("kind")
    if not tells:
        log = log.with_columns(pl.col("occasion").shuffle(seed))
    return World(log, None, Reading(context=("occasion",)))


def views(given: argparse.Namespace, seed: int, *, tells: bool) -> World:
    """Let half of the purchases follow a view of the product, and others be viewed, too, or make all views random."""
    world, rng = base(given, seed), np.random.default_rng(seed + 1)
    log = world.log.drop("kind")
    seen = log.filter(pl.Series(rng.random(len(log)) < 0.5))
    hour = pl.duration(seconds=pl.Series(rng.integers(60, 86_400, len(seen))))
    seen = seen.with_columns(pl.col("time") - hour)
    other = log.sample(len(log), with_replacement=True, seed=seed)
    other = other.with_columns(pl.col("product_id").shuffle(seed))
    if not tells:
        seen = seen.with_columns(pl.col("product_id").shuffle(seed))
    told = pl.concat(
        [log.with_columns(event=pl.lit("buy")), pl.concat([seen, other]).with_columns(event=pl.lit("view"))]
    )
    reading = Reading(event_column="event", events={"purchase": ("buy",), "view": ("view",)})
    return World(told.sort("time"), None, reading)


def compared(world: World, seed: int, threads: int) -> tuple[list[str], float]:
    """Return a line of the table: ndcg@100 of pairs alone and with the source, and the difference; and the seconds."""
    start, cut = time.perf_counter(), pl.datetime(1970, 1, 1) + pl.duration(microseconds=int(YEAR * 0.9))
    log, products = world.log, world.products
    plain = log if world.reading.event_column is None else log.filter(pl.col("event") == "buy")
    catalogue = products if products is not None else log.select(pl.col("product_id").unique().sort())
    ranks, users = [], np.zeros(0, np.int32)
    for frame, reading, config in (
        (plain, PLAIN, tm.preset("default").changed(PAIRS)),
        (log, world.reading, tm.preset("default")),
    ):
        train = tm.read_purchases(frame.filter(pl.col("time") < cut), products=catalogue, reading=reading)
        later = tm.read_purchases(
            frame.filter(pl.col("time") >= cut), reading=replace(reading, product_features="none")
        )
        model = tm.train(train, config, seed=seed, threads=threads, progress=False)
        report = tm.replay(model, later, beside=[], threads=threads)
        assert report.questions is not None
        ranks.append(report.model.ranks)
        users = report.questions.users
    before, after = (gains(found, [100])["ndcg@100"] for found in ranks)
    everything = [np.ones(len(users), bool)]
    part = parts_of({"more": after - before}, users, ["all"], everything, seed=seed)[0].metrics["more"]
    verdict = "helps" if part.low > 0 else "harms" if part.high < 0 else "no difference"
    line = [
        f"{before.mean():.4f}",
        f"{after.mean():.4f}",
        f"{part.mean:+.4f} ({part.low:+.4f} to {part.high:+.4f})",
        verdict,
    ]
    return line, time.perf_counter() - start


def main() -> None:
    parser = parser_of(__doc__, users=3_000, products=1_000, purchases=40_000, seeds=1, threads=2)
    given = parser.parse_args()
    worlds: dict[str, Callable[..., World]] = {
        "order": order, "attributes of products": attributes, "a context": contexts, "views": views,
    }  # fmt: skip
    lines, spent = [], 0.0
    for name, make in worlds.items():
        for tells in (True, False):
            for seed in range(given.seeds):
                line, seconds = compared(make(given, seed, tells=tells), seed, given.threads)
                lines.append([name, "tells" if tells else "is shuffled", *line])
                spent += seconds
                print(*lines[-1], f"{seconds:.0f} s", sep=" | ", flush=True)
    print()
    print(markdown(["source", "it", "ndcg@100, pairs alone", "with the source", "difference", ""], lines))
    print(
        f"\n{given.users:,} users, {given.products:,} products, {given.purchases:,} purchases; {spent:.0f} s. {machine()}"
    )


if __name__ == "__main__":
    main()
