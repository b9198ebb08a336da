"""What `--effort` changes: `quick` leaves less to choose, `thorough` tries other tastes on the part held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from tastemaker.data.purchases import Purchases
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import DEFAULT, Config
from tastemaker.training.memory.spectral import is_worth_trying
from tastemaker.training.selection.choose_repeats import LearnedTables
from tastemaker.training.selection.validation import Validation, ndcg_of_each, taste_scores

__all__ = ["Chosen", "choose_tail", "quick", "quick_spectral", "search", "widest"]

T = TypeVar("T")
Chosen = tuple[Config, dict[str, Any], LearnedTables | None]
"""Settings with nothing left to choose, what was measured, and what was learned on the way if that serves again."""

QUICK_PURCHASES, QUICK_EPOCHS = 500_000, 3
"""A quick training learns from about this many purchases, in one to three epochs."""
QUICK_RANK, QUICK_PASSES, QUICK_WEIGHT = 256, 4, 8.0
"""Or, where histories are long, computes so many directions in so many passes, of a weight at which the bias hardly matters."""
QUICK_PRODUCTS_A_DIRECTION = 32
"""But at most one direction for so many products, half of what may be tried elsewhere: more rank worse on most small catalogues."""
FACTORS = (0.5, 2.0)
"""The factors by which a thorough training multiplies each decay."""
WIDE = 2
"""A wide taste has this many times the members and dimensions, so that each member keeps its width."""
BROAD = 4
"""A broad taste has this many times the purchases and negatives in a batch."""
GAIN, LOSS = 0.01, 0.005
"""Another decay must rank better by at least this share, since one of several is better by chance among a few thousand users; more
members, and more that compete, steady what is learned, so that they are taken unless they rank worse by more than this share."""

TAILS = (0.0, 0.05, 0.1, 0.15, 0.2)
MOST_LOSS = 0.01
"""A dial of the long tail may cost the mean ndcg nothing, and the low end of the interval of 95 % this share."""


def quick_spectral(config: Config, products: int) -> Config:
    """Return the settings of vectors that are computed, with nothing left to choose: fewer directions, and no table beside them."""
    memory, own, taste = config.memory, DEFAULT.memory, config.taste
    rank = max(1, min(QUICK_RANK, products // QUICK_PRODUCTS_A_DIRECTION))
    few = {
        "spectral_rank": (memory.spectral_rank, own.spectral_rank, rank),
        "spectral_passes": (memory.spectral_passes, own.spectral_passes, QUICK_PASSES),
        "spectral_partners": (memory.spectral_partners, own.spectral_partners, 0),
        "dimensions": (taste.dimensions, DEFAULT.taste.dimensions, rank),
    }
    changes = {name: fewer for name, (given, preset, fewer) in few.items() if given == preset}
    return config.changed(
        changes, objective="spectral", members=1, epochs=1, horizon=1, memory_damping=taste.damping,
        spectral_weight=QUICK_WEIGHT, count_weight=0.0, ridge_weight=0.0, trend_weight=config.trend.weight or 0.0,
    )  # fmt: skip


def quick(log: Purchases, config: Config) -> Config:
    """Return the settings with less left to choose: few epochs, no spectral part, and no regression where histories are long.

    Only what was to be chosen is fixed; a setting that was given stays.
    """
    fixed: dict[str, object] = {}
    if config.taste.epochs is None:
        fixed["epochs"] = min(QUICK_EPOCHS, max(1, QUICK_PURCHASES // max(len(log), 1)))
        fixed["horizon"] = config.taste.horizon or fixed["epochs"]
    if config.memory.spectral_weight is None:
        fixed["spectral_weight"] = 0.0
    if config.memory.ridge_weight is None and is_worth_trying(log):
        fixed["ridge_weight"] = 0.0
    return config.changed(fixed)


def search(
    config: Config,
    choose: Callable[[Mapping[str, object]], tuple[Config, dict[str, Any], T]],
    *,
    decay_is_given: bool,
    least: float = 0.0,
    broad: bool = False,
) -> tuple[Config, dict[str, Any], T]:
    """Return the best of several tastes by the part held out: the own one, each decay halved and doubled, and a wide one.

    ``broad`` tries one in whose batches more compete in the place of the decays: where histories are long, judging takes long.

    They are tried one after the other, each beside the best so far. ``choose`` learns with some settings replaced, chooses the
    rest, and gives what it learned. A setting that differs from the preset's own was given, and stays. If the own one is worth
    less than ``least``, which something else is worth, no other is tried.
    """
    best, changes = choose({}), dict[str, object]()
    if best[1]["with_memory"] < least:
        return best
    tried = [{"settings": {}, "with_memory": best[1]["with_memory"]}]
    taste, own = config.taste, DEFAULT.taste
    steps: list[list[dict[str, object]]] = []
    if not (broad or decay_is_given):
        steps.append([{"decay": (taste.decay or 0.0) * factor} for factor in FACTORS])
    if not broad and taste.rare_decay == own.rare_decay:
        steps.append([{"rare_decay": taste.rare_decay * factor} for factor in FACTORS])
    if broad and (taste.batch, taste.negatives) == (own.batch, own.negatives):
        steps.append([{"batch": taste.batch * BROAD, "negatives": taste.negatives * BROAD}])
    if widest(config) != taste.dimensions:
        steps.append([{"dimensions": taste.dimensions * WIDE, "members": taste.members * WIDE}])
    for step in steps:
        before = dict(changes)
        for more in step:
            found = choose(before | more)
            tried.append({"settings": before | more, "with_memory": found[1]["with_memory"]})
            enough = 1 - LOSS if "members" in more or "batch" in more else 1 + GAIN
            if found[1]["with_memory"] > best[1]["with_memory"] * enough:
                best, changes = found, before | more
    return best[0], best[1] | {"tried": tried}, best[2]


def choose_tail(validation: Validation, chosen: Chosen, pool: ThreadPool) -> Chosen:
    """Return what was chosen with the greatest dial of the long tail at which the same users' lists rank no worse.

    A greater dial finds more of middle and tail. It costs nothing where the mean ndcg is not below that without it, and its change
    surely not below -1 %.
    """
    config, told, learned = chosen
    if config.popularity.tail is not None or learned is None:
        return chosen
    tables, weights = learned.weighed(config)
    scores = taste_scores(learned.taste, validation, config, pool)
    sales = np.log1p(np.bincount(validation.histories.products, minlength=scores.shape[1])).astype(np.float32)
    before, best, curve = np.zeros(0), 0.0, []
    for i, tail in enumerate(TAILS):
        scores -= np.float32(tail - TAILS[max(i - 1, 0)]) * sales
        values = ndcg_of_each(validation, config, scores, tables, [weights], pool)[0]
        before = before if i else values
        change, whole = values - before, max(float(before.mean()), 1e-12)
        error = 1.96 * float(change.std()) / len(change) ** 0.5
        mean, low, high = (float(change.mean() + end) / whole for end in (0.0, -error, error))
        curve.append({"tail": tail, "change": mean, "low": low, "high": high})
        if mean >= 0 and low >= -MOST_LOSS:
            best = tail
    return config.changed(popularity_tail=best), told | {"tail": curve}, learned


def widest(config: Config) -> int:
    """Return the most dimensions that training may come to."""
    taste, own = config.taste, DEFAULT.taste
    as_preset = (taste.dimensions, taste.members) == (own.dimensions, own.members)
    return taste.dimensions * (WIDE if config.effort == "thorough" and as_preset and config.chooses else 1)
