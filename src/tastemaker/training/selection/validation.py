"""A validation: a part is held out of a log, and users are judged by how well lists find it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tastemaker.data.purchases import Histories, Purchases
from tastemaker.data.ragged import distinct, gather_lists, offsets_of, places_in
from tastemaker.data.splits import Split, hold_out_random, hold_out_time
from tastemaker.errors import DataError
from tastemaker.kernels.ranking.baskets import compose_baskets
from tastemaker.kernels.ranking.choosing import ndcg_of_weights
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.config import Config
from tastemaker.model.taste_model import Memory
from tastemaker.training.learners.learner import Taste
from tastemaker.training.memory.co_occurrence import no_memory
from tastemaker.training.memory.trend import trend_of
from tastemaker.training.selection.sampled import is_long, sampled, with_users_anew
from tastemaker.types import AnyArray, Doubles, Floats, Rows

__all__ = [
    "MEASURED_AT",
    "MOST_OF_LONG",
    "Validation",
    "Weights",
    "better",
    "hold_out",
    "hold_out_repeats",
    "many_bytes",
    "ndcg",
    "ndcg_of_each",
    "ndcg_of_taste",
    "ndcgs",
    "nearly_best",
    "remembering",
    "taste_scores",
    "told_of",
    "weighing",
]

T = TypeVar("T")

MEASURED_AT = 100
"""Lists are judged by ndcg at this length."""
MOST_SCORES = 60_000_000
"""How many scores (users x products, 4 bytes each) are held at most while weights are tried."""
MOST_OF_LONG = 240_000_000
"""Of a long log, which has large catalogues, and where many users judge"""
MOST_USERS, FEWEST_USERS = 3_000, 30
MANY_USERS = 12_000
"""A thorough training judges by so many users, since it compares tastes that differ little."""
SHARE = 0.2
"""The share of each user's products, or lines, that is held out where times do not decide."""

Weights = tuple[float, float, float]
"""Of counts, ridge and trend."""


@dataclass(frozen=True, slots=True)
class Validation:
    """A log without its held-out part, and the users whose lists are judged."""

    log: Purchases
    histories: Histories
    users: Rows
    baskets: Histories
    held_out: Histories
    description: str
    by_time: bool
    """Whether the last part of the time was held out."""
    own: Floats
    """``float32[total]``, what is added to the score of each product of ``baskets``: -inf leaves it out."""
    unseen: int | None = None
    """Of a long log, the purchases of a sample of users that ``log`` lacks: so few that what is learned from it is kept"""
    repeats: Validation | None = None
    """Of a long log, what judges lists with what users bought, held out of the same ``log``"""
    wide: Validation | None = None
    """Of a long log, more users, ranked a part of them at a time where once is enough: they judge tastes alone"""

    def some(self, places: AnyArray) -> Validation:
        """Return what judges by the users at these places alone."""
        (baskets, bought), (held_out, asked) = (
            gather_lists(lists.offsets, places) for lists in (self.baskets, self.held_out)
        )
        return replace(
            self, users=self.users[places], baskets=Histories(baskets, self.baskets.products[bought]),
            held_out=Histories(held_out, self.held_out.products[asked]), own=self.own[bought],
        )  # fmt: skip


def hold_out(log: Purchases, seed: int, *, many: bool = False) -> Validation | None:
    """Hold out what judges lists without what users bought; ``None`` when the log is too small.

    The last part of the time, or a fifth of the products of each user; of a long log without times, of a sample of users only.
    ``many`` judges up to four times as many users.
    """
    rng = np.random.default_rng([seed, 3])
    if is_long(log):
        return _hold_out_sample(log, rng)
    parts = _by_time(log)
    if parts is not None:
        validation = _validation(parts, rng, by_time=True, many=many)
        if len(validation.users) >= FEWEST_USERS:
            return validation
    parts = _at_random(log, rng)
    if parts is None:
        return None
    validation = _validation(parts, rng, many=many)
    return validation if len(validation.users) else None


def hold_out_repeats(log: Purchases, seed: int) -> Validation | None:
    """Hold out what judges lists with what users bought; ``None`` when the log is too small.

    By time as `hold_out` does, or the last fifth of each user's lines: unlike a fifth of the products, it holds out some purchases
    of a pair and leaves others. ``None`` also where the repeated lines mostly stand side by side: theirs is no order in time.
    """
    if is_long(log):
        validation = hold_out(log, seed)
        return None if validation is None else validation.repeats
    rng = np.random.default_rng([seed, 4])
    parts = _by_time(log)
    if parts is not None:
        validation = _validation(parts, rng, repeats=True, by_time=True)
        if len(validation.users) >= FEWEST_USERS:
            return validation
    parts = _last_lines(log)
    if parts is None:
        return None
    validation = _validation(parts, rng, repeats=True)
    return validation if len(validation.users) else None


def many_bytes(log: Purchases) -> int:
    """Return how many bytes the scores of many judged users take at most."""
    return 4 * min(MOST_OF_LONG, min(MANY_USERS, len(log.users)) * len(log.products))


def _hold_out_sample(log: Purchases, rng: np.random.Generator) -> Validation | None:
    """Hold out a fifth of the products of some users, and the last fifth of the lines of some others."""
    samples = sampled(log, rng)
    parts, again = _at_random(samples.first, rng), _last_lines(samples.second)
    if parts is None:
        return None
    seconds = samples.second if again is None else again.train
    rest = with_users_anew(log, samples, (parts.train, seconds))
    users, unseen = len(distinct(samples.first.user_rows)), len(log) - len(rest)
    what = (
        f"Held out: {SHARE:.0%} of the products of {users:,} users, and the last {SHARE:.0%} of the lines of as many others; "
        f"{unseen:,} of {len(log):,} purchases."
    )
    wide = _validation(parts, rng, of=rest)
    if not len(wide.users):
        return None
    repeats = None
    if again is not None:
        repeats = replace(_narrowed(_validation(again, rng, repeats=True, of=rest)), description=what)
    narrow = replace(_narrowed(wide), description=what, unseen=unseen, repeats=repeats)
    return replace(narrow, wide=wide) if len(narrow.users) < len(wide.users) else narrow


def _narrowed(validation: Validation) -> Validation:
    """Return what judges by as many users as may have all scores of theirs held at once."""
    most = max(FEWEST_USERS, MOST_OF_LONG // max(len(validation.log.products), 1))
    count = min(most, len(validation.users))
    return validation.some(np.arange(count) * len(validation.users) // max(count, 1))


def _last_lines(log: Purchases) -> Split | None:
    moments = np.arange(len(log)) if log.times is None else log.times
    order = np.lexsort((moments, log.user_rows))
    users, products = log.user_rows[order], log.product_rows[order]
    side_by_side = np.count_nonzero((users[1:] == users[:-1]) & (products[1:] == products[:-1]))
    if side_by_side > (len(log) - len(log.histories().products)) / 2:
        return None
    sizes = np.bincount(users)
    place = places_in(offsets_of(sizes))
    mask = np.zeros(len(log), bool)
    mask[order] = place >= (sizes - np.floor(sizes * SHARE + 0.5))[users]
    what = (
        f"Held out: the last {SHARE:.0%} of the lines of each user; {mask.sum():,} of {len(log):,} purchases."
    )
    return Split(log.take(~mask), log.take(mask), what)


def _by_time(log: Purchases) -> Split | None:
    if log.times is None:
        return None
    try:
        return hold_out_time(log)
    except DataError:
        return None


def _at_random(log: Purchases, rng: np.random.Generator) -> Split | None:
    try:
        return hold_out_random(log, SHARE, rng=rng)
    except DataError:
        return None


def _validation(
    parts: Split,
    rng: np.random.Generator,
    *,
    repeats: bool = False,
    by_time: bool = False,
    many: bool = False,
    of: Purchases | None = None,
) -> Validation:
    """Judge users with a history by what somebody had bought before, and by what they had bought themselves only if ``repeats``.

    ``of`` is the log of all users, where the parts are of some.
    """
    histories, later = parts.train.histories(), parts.held_out.histories()
    log, products = of or parts.train, len(parts.train.products)
    whole = histories if of is None else of.histories()
    users = later.owners()
    bought = np.bincount(whole.products, minlength=products) > 0
    wanted = bought[later.products] & (np.diff(histories.offsets) > 0)[users]
    if not repeats:
        wanted &= ~np.isin(later.keys(products), histories.keys(products))
    judged = distinct(users[wanted])
    most = MOST_USERS
    if of is None:
        asked, scores = (MANY_USERS, MOST_OF_LONG) if many else (MOST_USERS, MOST_SCORES)
        most = max(FEWEST_USERS, min(asked, scores // max(products, 1)))
    if len(judged) > most:
        judged = np.sort(rng.choice(judged, most, replace=False))
    wanted &= np.isin(users, judged)
    held_offsets = offsets_of(np.bincount(users[wanted], minlength=len(later))[judged])
    offsets, places = gather_lists(histories.offsets, judged)
    return Validation(
        log,
        whole,
        judged.astype(np.int32),
        Histories(offsets, histories.products[places]),
        Histories(held_offsets, later.products[wanted]),
        parts.description,
        by_time,
        np.full(len(places), 0 if repeats else -np.inf, np.float32),
    )


def taste_scores(taste: Taste, validation: Validation, config: Config, pool: ThreadPool) -> Floats:
    """Return the scores ``float32[Q, P]`` that a taste gives the judged users."""
    vectors = taste.vectors
    queries = np.empty((len(validation.users), vectors.shape[1]), np.float32)
    baskets = validation.baskets
    pool.run(
        lambda low, high: compose_baskets(
            low, high, baskets.offsets, baskets.products, taste.heard, config.taste.damping, queries
        ),
        len(queries),
    )
    scores: Floats = queries @ vectors.T
    scores += taste.bias
    return scores


def ndcg(
    validation: Validation,
    config: Config,
    taste: Floats,
    tables: tuple[Memory, Memory] | None,
    weights: Weights,
    pool: ThreadPool,
) -> float:
    """Return the mean of `ndcg_of_each` under some weights."""
    return ndcgs(validation, config, taste, tables, [weights], pool)[0]


def ndcgs(
    validation: Validation,
    config: Config,
    taste: Floats,
    tables: tuple[Memory, Memory] | None,
    weights: Sequence[Weights],
    pool: ThreadPool,
) -> list[float]:
    """Return the means of `ndcg_of_each`, one for each of the weights."""
    means: list[float] = ndcg_of_each(validation, config, taste, tables, weights, pool).mean(axis=1).tolist()
    return means


def ndcg_of_each(
    validation: Validation,
    config: Config,
    taste: Floats,
    tables: tuple[Memory, Memory] | None,
    weights: Sequence[Weights],
    pool: ThreadPool,
) -> Doubles:
    """Return the ndcg of each judged user, ``float64[W, Q]``, under several weights of the two tables of the memory and the trend.

    Weights are tried together where that can be: what the tables say of a basket is then summed once.
    """
    nothing = no_memory(taste.shape[1])
    counts, ridge = tables or (nothing, nothing)
    tried = np.array(weights, np.float64)
    trend = trend_of(validation.log) if tried[:, 2].any() else np.zeros(taste.shape[1], np.float32)
    baskets, held_out = validation.baskets, validation.held_out
    values = np.zeros((len(tried), len(validation.users)))

    def measure(low: int, high: int) -> None:
        ndcg_of_weights(
            low, high, taste, baskets.offsets, baskets.products, held_out.offsets, held_out.products,
            counts.offsets, counts.products, counts.weights, ridge.offsets, ridge.products, ridge.weights,
            trend, validation.own, tried, config.memory.damping, MEASURED_AT, values,
        )  # fmt: skip

    pool.run(measure, values.shape[1])
    return values


def ndcg_of_taste(validation: Validation, config: Config, taste: Taste, pool: ThreadPool) -> float:
    """Return the mean ndcg of a taste alone, of as many users as there are to judge it by."""
    nothing = (0.0, 0.0, 0.0)
    wide, at_once = validation.wide, len(validation.users)
    if wide is None:
        return ndcg(validation, config, taste_scores(taste, validation, config, pool), None, nothing, pool)
    total = 0.0
    for low in range(0, len(wide.users), at_once):
        part = wide.some(np.arange(low, min(low + at_once, len(wide.users))))
        scores = taste_scores(taste, part, config, pool)
        total += ndcg(part, config, scores, None, nothing, pool) * len(part.users)
    return total / len(wide.users)


def nearly_best(tried: Sequence[T], worth: Callable[[T], float], modesty: float) -> T:
    """Return the first of what was tried that ranks within this share of the best: the modest ones stand first.

    >>> nearly_best([0, 1, 2], [0.5, 0.999, 1.0].__getitem__, 0.002)
    1
    """
    values = [worth(one) for one in tried]
    enough = max(values) * (1 - modesty)
    return next(one for one, value in zip(tried, values, strict=True) if value >= enough)


def remembering(
    measure: Callable[[list[Weights]], list[float]],
) -> Callable[[list[Weights]], list[float]]:
    """Return what measures weights together and none of them twice."""
    seen: dict[Weights, float] = {}

    def worth(tried: list[Weights]) -> list[float]:
        unseen = [weights for weights in tried if weights not in seen]
        if unseen:
            seen.update(zip(unseen, measure(unseen), strict=True))
        return [seen[weights] for weights in tried]

    return worth


def weighing(
    validation: Validation,
    config: Config,
    dense: Callable[..., Floats],
    ridge: Memory | None,
    parted: Callable[[Weights], tuple[tuple[float, ...], Weights]],
    pool: ThreadPool,
) -> Callable[[list[Weights]], list[float]]:
    """Return what measures weights, of which some are in dense scores and the others of the regression and the trend beside these.

    ``parted`` gives those of ``dense``, which makes the scores ``float32[Q, P]`` once for all that share them, and those that
    `ndcgs` takes.
    """
    nothing = no_memory(len(validation.log.products))

    @remembering
    def worth(tried: list[Weights]) -> list[float]:
        values: dict[Weights, float] = {}
        for own in dict.fromkeys(parted(weights)[0] for weights in tried):
            some = [weights for weights in tried if parted(weights)[0] == own]
            beside = [parted(weights)[1] for weights in some]
            found = ndcgs(validation, config, dense(*own), (nothing, ridge or nothing), beside, pool)
            values.update(zip(some, found, strict=True))
        return [values[weights] for weights in tried]

    return worth


def told_of(validation: Validation, by_epoch: dict[str, float], whole: float) -> dict[str, Any]:
    """Return what training tells of a choice: on what it was made, the taste alone by epoch, and all with its weights."""
    return {
        "held_out": validation.description,
        "users": len(validation.users),
        "measure": f"ndcg@{MEASURED_AT}",
        "by_epoch": by_epoch,
        "taste": list(by_epoch.values())[-1],
        "with_memory": whole,
    }


def better(
    best: Weights,
    part: int,
    grid: Sequence[float],
    worth: Callable[[list[Weights]], list[float]],
    modesty: float,
) -> Weights:
    """Return weights with the `nearly_best` one of a part, all measured together.

    >>> better((0.0, 1.0, 0.0), 1, [1.0, 2.0], lambda tried: [weights[1] for weights in tried], 0.01)
    (0.0, 2.0, 0.0)
    """
    tried = [_with(best, part, value) for value in grid]
    worths = dict(zip(tried, worth(tried), strict=True))
    return nearly_best(tried, worths.__getitem__, modesty)


def _with(weights: Weights, part: int, value: float) -> Weights:
    changed = [*weights]
    changed[part] = value
    return (changed[0], changed[1], changed[2])
