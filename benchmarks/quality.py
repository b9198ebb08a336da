"""How well models rank: ``python benchmarks/quality.py --shop asos`` (or ``rent_the_runway``, ``online_retail``).

ASOS has a test file. The other two are split by time: the last tenth of it is the test part. Rivals are tuned on a part held out of
the rest, in the way in which the default model holds one out for itself (the last tenth of the time, or a random fifth of each
user's products): the setting with the best ndcg@100 of up to 3,000 users there is learned once more from all of the rest, and is
measured on the test part once. Nothing is chosen on the test part. Nothing is written to disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

import tastemaker as tm
from common import data_folder, machine, markdown, missing, parser_of
from tastemaker.data.purchases import Histories
from tastemaker.data.repeats import times_bought
from tastemaker.evaluation.metrics import measure
from tastemaker.evaluation.protocol import report_of, those_with_held_out
from tastemaker.ranking.lists import RankedLists
from tastemaker.ranking.packed import product_candidates
from tastemaker.ranking.rank import rank_users
from tastemaker.training.baselines.ease import MOST_PRODUCTS
from tastemaker.training.memory.trend import trend_of

Setting: TypeAlias = Mapping[str, Any]
Ranker: TypeAlias = Callable[[Any, bool], RankedLists]
"""Lists of 100 for the users at these rows; whether what they bought may stand in them."""
Learner: TypeAlias = Callable[[tm.Purchases, Setting], Ranker]

METRICS = ("recall@10", "recall@100", "ndcg@10", "ndcg@100")
CHOSEN_BY = "ndcg@100"
LONGEST = 100
MOST_JUDGED = 3_000


@dataclass(frozen=True)
class Shop:
    """Where a data set lies and what it needs to be read."""

    columns: tm.Columns
    file: str
    keep: pl.Expr | None = None
    repeats: bool = False
    """Whether users may buy the same product again, so that lists with it are measured too."""


SHOPS = {
    "asos": Shop(tm.Columns(), "asos/dsf_asos_train_with_alphanumeric_dummy_ids.parquet"),
    "rent_the_runway": Shop(
        tm.Columns(user="user_id", product="item_id", time="review_date", quantity=""),
        "rent_the_runway/rentals.parquet",
        repeats=True,
    ),
    "online_retail": Shop(
        tm.Columns(user="CustomerID", product="StockCode", time="InvoiceDate", quantity="Quantity"),
        "online_retail/online_retail.parquet",
        (pl.col("CustomerID") > 0) & (pl.col("Quantity") > 0),
        repeats=True,
    ),
}


@dataclass(frozen=True)
class Part:
    """A log to learn from, and purchases to measure with, whose unknown products are numbered from P on."""

    log: tm.Purchases
    held_out: tm.Purchases
    text: str

    def wanted(self, repeats: bool) -> tuple[Any, Histories]:
        """Return the users with a history and a held-out product, and these products; new ones only, unless ``repeats``."""
        held, histories = self.held_out, self.log.histories()
        has_history = np.diff(histories.offsets) > 0
        keep = has_history[held.user_rows]
        if not repeats:
            width = int(max(len(self.log.products), held.product_rows.max(initial=0) + 1))
            bought = np.repeat(np.arange(len(has_history)), np.diff(histories.offsets)) * width
            keep &= ~np.isin(held.user_rows * width + held.product_rows, bought + histories.products)
        rows = held.take(keep)
        width = int(max(len(self.log.products), rows.product_rows.max(initial=0) + 1))
        pairs = np.unique(rows.user_rows.astype(np.int64) * width + rows.product_rows)
        counts = np.bincount(pairs // width, minlength=len(has_history))
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return those_with_held_out(Histories(offsets, (pairs % width).astype(np.int32)))


@dataclass(frozen=True)
class Rival:
    """A way to learn, and the settings that are tried for it."""

    name: str
    learn: Learner
    trials: Sequence[Setting] = ({},)
    only_repeats: bool = False


def main() -> None:
    parser = parser_of(__doc__, threads=2, trials=20)
    parser.add_argument("--shop", choices=SHOPS, action="append", help="default: each of them")
    parser.add_argument("--data", type=Path, help="the folder of the data sets (default: TASTEMAKER_DATA)")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave a model out")
    options = parser.parse_args()
    for name in options.shop or SHOPS:
        print("\n".join(run(name, options)), flush=True)


def run(name: str, options: argparse.Namespace) -> Iterator[str]:
    shop = SHOPS[name]
    test = read(shop, options)
    tuning = held_out_of(test.log)
    modes = (False, True) if shop.repeats else (False,)
    rows: dict[bool, list[list[str]]] = {mode: [] for mode in modes}
    each: dict[bool, dict[str, Any]] = {mode: {} for mode in modes}
    notes = []
    for rival in rivals(test.log, options):
        if rival.name in options.without:
            continue
        wanted = [mode for mode in modes if mode or not rival.only_repeats]
        for setting, its_modes in tuned(rival, tuning, wanted).items():
            began = time.perf_counter()
            ranker = rival.learn(test.log, dict(setting))
            seconds = time.perf_counter() - began
            for mode in its_modes:
                cells, each[mode][rival.name] = measured(ranker, test, mode)
                rows[mode].append([rival.name, *cells, f"{seconds:.1f}"])
                say(" | ".join(rows[mode][-1]))
            if len(rival.trials) > 1:
                with_what = f" ({' and '.join(map(purchased, its_modes))})" if len(modes) > 1 else ""
                notes.append(
                    f"{rival.name}{with_what}: {shown(dict(setting))}, the best of {len(rival.trials)}."
                )
    for mode in modes:
        users, wanted_products = test.wanted(mode)
        yield (
            f"**{name}**, {purchased(mode)}. {test.text} {len(users):,} users, "
            f"{len(wanted_products.products):,} products held out, {len(test.log.products):,} ranked.\n"
        )
        yield markdown(["model", *METRICS, "seconds to learn"], rows[mode]) + "\n"
        yield from paired(each[mode])
    yield " ".join(notes) + f" Tuned on a part of the rest: {tuning.text} {machine()}\n"


def purchased(mode: bool) -> str:
    return "what they bought may come again" if mode else "what they bought left out"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Data -------------------------------------------------------------------------------------------------------


def read(shop: Shop, options: argparse.Namespace) -> Part:
    folder = data_folder(options.data)
    file = folder / shop.file
    if not file.is_file():
        missing(
            f"there is no {shop.file} in {folder}; say where it is with --data DIR or TASTEMAKER_DATA=DIR."
        )
    if shop.columns.time is None:
        log = tm.read_purchases(
            file,
            users=file.parent / "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv",
            products=file.parent / "dsf_asos_productIds.csv",
        )
        test = file.parent / file.name.replace("train", "valid")
        return Part(log, tm.read_held_out(test, log.users, log.products).purchases, "The test file.")
    frame = pl.read_parquet(file)
    frame = frame if shop.keep is None else frame.filter(shop.keep)
    days = frame[shop.columns.time].cast(pl.Datetime("us"))
    first, last = days.min(), days.max()
    border = last - (last - first) * 0.1  # type: ignore[operator]
    log = tm.read_purchases(frame.filter(days <= border), columns=shop.columns)
    later = tm.read_held_out(frame.filter(days > border), log.users, log.products, columns=shop.columns)
    text = (
        f"After {border:%Y-%m-%d}, the last tenth of the time; of its purchases {later.unknown_user_rows:,} are of unknown users "
        f"and not measured, {later.unknown_product_rows:,} of unknown products and missed by every model."
    )
    return Part(log, later.purchases, text)


def held_out_of(log: tm.Purchases) -> Part:
    """Hold out of a log as the default model does for itself."""
    timed = log.times is not None
    split = tm.hold_out_time(log) if timed else tm.hold_out_random(log, rng=np.random.default_rng(7))
    return Part(split.train, split.held_out, split.description)


# Models -----------------------------------------------------------------------------------------------------


def rivals(log: tm.Purchases, options: argparse.Namespace) -> Iterator[Rival]:
    threads, timed = options.threads, log.times is not None
    yield Rival("default", of_model(lambda log, _: tm.train(log, tm.preset("default"), threads=threads)))
    for effort in ("quick", "thorough"):
        settings = tm.preset("default", effort=effort)
        yield Rival(
            effort, of_model(lambda log, _, settings=settings: tm.train(log, settings, threads=threads))
        )
    if not timed:
        without = tm.preset("default").changed({"number_weight": 0.0})
        yield Rival(
            "default without numbers", of_model(lambda log, _: tm.train(log, without, threads=threads))
        )
    if timed:
        without = tm.preset("default").changed({"trend_weight": 0.0})
        yield Rival("default without trend", of_model(lambda log, _: tm.train(log, without, threads=threads)))
        off = tm.preset("default").changed({"repeat_weight": 0.0, "repeat_sales": 0.0, "repeat_level": 0.0})
        without_repeats = of_model(lambda log, _: tm.train(log, off, threads=threads))
        yield Rival("default without repeats", without_repeats, only_repeats=True)
    yield from others(log, options)


def others(log: tm.Purchases, options: argparse.Namespace) -> Iterator[Rival]:
    """Give what stands beside our models: the simple rules, and the models of others with their grids."""
    threads, timed = options.threads, log.times is not None
    yield Rival("best sellers", of_model(lambda log, _: tm.best_sellers(log)))
    if timed:
        shares = [{"share": share} for share in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)]
        trends = [{"trend": weight} for weight in (0.5, 1.0, 1.5, 2.0, 3.0)]
        yield Rival("recent best sellers", of_model(recent_best_sellers), shares + trends)
        often = [{**share, "count": what} for share in shares for what in ("lines", "days")]
        yield Rival("bought before, most often first", bought_before, often, only_repeats=True)
    yield Rival(
        "co-purchase",
        of_model(lambda log, setting: tm.co_purchase(log, threads=threads, **setting)),
        grid(power=(0.0, 0.2, 0.4, 0.5, 0.6, 0.8), damping=(0.0, 0.5, 1.0, 1.5), popularity=(0.1, 5.0)),
    )
    yield Rival(
        "ALS",
        of_model(lambda log, setting: tm.als(log, threads=threads, **setting)),
        als_trials(options.trials),
    )
    if len(log.products) <= MOST_PRODUCTS:
        penalties = (10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0, 5_000.0)
        yield Rival(
            "EASE",
            of_model(lambda log, setting: tm.ease(log, partners=None, threads=threads, **setting)),
            grid(penalty=penalties),
        )
    else:
        say(f"EASE is left out: {len(log.products):,} products are beyond its limit of {MOST_PRODUCTS:,}.")


def of_model(learn: Callable[[tm.Purchases, Setting], tm.TasteModel]) -> Learner:
    def ranker(log: tm.Purchases, setting: Setting) -> Ranker:
        model = learn(log, setting)
        if model.record.config is not None:
            say(f"chosen: {chosen(model)}")
        return lambda users, repeats: rank_users(
            model, users, product_candidates(model), k=LONGEST, include_purchased=repeats
        )

    return ranker


def chosen(model: tm.TasteModel) -> str:
    config = model.record.config
    assert config is not None
    names = ("epochs", "horizon", "decay", "count_weight", "ridge_weight", "trend_weight")
    names += ("repeat_weight", "repeat_sales", "repeat_level")
    return shown({name: getattr(config, name) for name in names})


def recent_best_sellers(log: tm.Purchases, setting: Setting) -> tm.TasteModel:
    """Count the purchases of the last ``share`` of the time; or add the trend of the default model to all of them."""
    model = tm.best_sellers(log)
    buyers = model.product_bias
    if "share" in setting:
        bias = recent(log, setting["share"]) + 1e-3 * buyers / buyers.max()
    else:
        bias = np.log(buyers + 0.5) + setting["trend"] * trend_of(log)
    return dataclasses.replace(model, product_bias=bias.astype(np.float32))


def recent(log: tm.Purchases, share: float) -> Any:
    times = log.times
    assert times is not None
    late = times >= times.max() - share * (times.max() - times.min())
    return np.bincount(log.product_rows[late], minlength=len(log.products))


def bought_before(log: tm.Purchases, setting: Setting) -> Ranker:
    """Rank what a user bought by how many times, in lines or on so many days, and then what sold of late."""
    sold = recent(log, setting["share"])
    candidates = tm.Candidates.of(
        np.zeros((len(log.products), 0), np.float32), (sold / (sold.max() + 1)).astype(np.float32)
    )
    histories = log.histories()
    keys = log.user_rows.astype(np.int64) * len(log.products) + log.product_rows
    counts = np.unique(keys, return_counts=True)[1] if setting["count"] == "lines" else times_bought(log)
    times = np.ones(len(histories.products)) if counts is None else counts
    extra = tm.ExtraScores(histories.offsets, histories.products, times.astype(np.float32))

    def rank(users: Any, repeats: bool) -> RankedLists:
        return tm.top_k(np.zeros((len(users), 0), np.float32), candidates, LONGEST, extra=extra.take(users))

    return rank


def grid(**values: Sequence[float]) -> list[Setting]:
    settings: list[Setting] = [{}]
    for name, choices in values.items():
        settings = [{**setting, name: choice} for setting in settings for choice in choices]
    return settings


def als_trials(count: int) -> list[Setting]:
    """Draw settings at random, the first one being implicit's own."""
    rng = np.random.default_rng(11)
    drawn = [
        {
            "factors": int(rng.choice([32, 48, 64, 96, 128, 192, 256])),
            "regularization": float(f"{10 ** rng.uniform(-2.5, 2):.2g}"),
            "alpha": float(f"{10 ** rng.uniform(-0.5, 2):.2g}"),
            "iterations": int(rng.choice([8, 15, 25])),
        }
        for _ in range(count - 1)
    ]
    return [{"factors": 128, "regularization": 0.01, "alpha": 1.0, "iterations": 15}, *drawn]


# Measuring --------------------------------------------------------------------------------------------------


def tuned(rival: Rival, part: Part, modes: Sequence[bool]) -> dict[tuple[tuple[str, Any], ...], list[bool]]:
    """Return the best setting on the part held out for it, of each way to measure: the setting and where it is best."""
    if len(rival.trials) == 1:
        return {tuple(rival.trials[0].items()): list(modes)}
    judged = {mode: judged_users(part, mode) for mode in modes}
    worth: dict[bool, list[float]] = {mode: [] for mode in modes}
    began = time.perf_counter()
    for setting in rival.trials:
        ranker = rival.learn(part.log, setting)
        for mode, (users, wanted) in judged.items():
            lists = ranker(users, mode)
            found = measure(lists, wanted, at=[LONGEST], products=len(part.log.products))
            worth[mode].append(float(found.values[CHOSEN_BY].mean()))
        say(f"{rival.name}: {shown(setting)}: {', '.join(f'{values[-1]:.4f}' for values in worth.values())}")
    say(f"{rival.name}: {len(rival.trials)} trials in {time.perf_counter() - began:.0f} s")
    best: dict[tuple[tuple[str, Any], ...], list[bool]] = {}
    for mode, values in worth.items():
        best.setdefault(tuple(rival.trials[int(np.argmax(values))].items()), []).append(mode)
    return best


def judged_users(part: Part, mode: bool) -> tuple[Any, Histories]:
    users, wanted = part.wanted(mode)
    if len(users) <= MOST_JUDGED:
        return users, wanted
    kept = np.sort(np.random.default_rng(7).choice(len(users), MOST_JUDGED, replace=False))
    lists = [wanted.of(int(user)) for user in kept]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in lists]))).astype(np.int64)
    return users[kept], Histories(offsets, np.concatenate(lists))


def measured(ranker: Ranker, part: Part, mode: bool) -> tuple[list[str], Any]:
    """Return the cells of a table, and what each user is worth by `CHOSEN_BY`."""
    users, wanted = part.wanted(mode)
    lists, products = ranker(users, mode), len(part.log.products)
    report = report_of(lists, wanted, at=[10, LONGEST], products=products, seed=0)
    values = measure(lists, wanted, at=[LONGEST], products=products).values[CHOSEN_BY]
    return [interval(report.metrics[name]) for name in METRICS], values


def paired(each: Mapping[str, Any]) -> Iterator[str]:
    """Say how thorough ranks beside the default on the same users, with an interval of 95 %."""
    if not {"default", "thorough"} <= each.keys():
        return
    before = each["default"]
    change = (each["thorough"] - before) / before.mean() * 100
    mean, error = change.mean(), 1.96 * change.std() / len(change) ** 0.5
    yield (
        f"thorough beside the default, user by user: {CHOSEN_BY} {mean:+.1f} % ({mean - error:+.1f} to {mean + error:+.1f}).\n"
    )


def interval(value: Any) -> str:
    return f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})".replace("0.", ".")


def shown(setting: Setting) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items())


if __name__ == "__main__":
    main()
