"""What a candidate's lists would earn: inverse propensity, self-normalised and clipped, and doubly robust.

Both rest on the item-position model: what a product earns at a place depends on the visitor, the product and the place, and not on
what stands beside it. Then the places of a list can be weighed one by one; whole lists agree with a candidate's too rarely.
Sources: Swaminathan & Joachims 2015, the self-normalized estimator; Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen 2018,
offline evaluation of ranking policies with click models, for the item-position model; Dudík, Langford & Li 2011, doubly robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tastemaker.errors import DataError, SettingProblem
from tastemaker.evaluation.off_policy.guesses import guesses
from tastemaker.evaluation.off_policy.logged import AskedLists, LoggedLists
from tastemaker.evaluation.off_policy.means import VisitorSums
from tastemaker.types import Doubles

__all__ = ["CLIP", "Overlap", "doubly_robust", "inverse_propensity", "overlap_of", "seen", "weights_of"]

CLIP = 10_000.0
"""The largest weight of a place; no weight of `--explore 0.02` and lists of 10 is larger than about 1,000."""

HARDLY = 0.01
"""Chances below are such as hardly ever happen."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of what a candidate shows the log has shown."""

    visitors: int
    effective: float
    """As many visitors of whom every place agreed would tell as much: (Σ w)² / Σ w² over visitors"""
    never: float
    """The share of the candidate's places with a product that the log never shows there"""
    hardly: float
    """The share with one that it shows there with a chance below `HARDLY`, but sometimes"""
    clipped: int
    """How many places weigh less than they should"""


def seen(logged: LoggedLists, rewards: Doubles) -> VisitorSums:
    """Return what the logged lists earned, ``rewards`` being those of each place, ``float64[S]``."""
    return VisitorSums(logged.by_visitor(_checked(logged, rewards)), _lists(logged))


def weights_of(logged: LoggedLists, asked: AskedLists, *, clip: float = CLIP) -> Doubles:
    """Return the weight of each place, ``float64[S]``: 1 / chance where the candidate shows the same product, at most ``clip``."""
    if not clip >= 1:
        raise SettingProblem(f"clip is {clip}; no weight is below 1, so it must be at least 1.")
    same = asked.products == logged.products
    weights: Doubles = np.minimum(same / logged.chances, clip)
    return weights


def inverse_propensity(
    logged: LoggedLists, rewards: Doubles, asked: AskedLists, *, clip: float = CLIP
) -> VisitorSums:
    """Return what a candidate's lists earn by weighing what was shown, self-normalised.

    ``R = places a list · Σ w · reward / Σ w``. Its error is taken as linear in that of the sums: each visitor is given the mean and
    what they add to it. Places that the log never shows are taken to earn as much as the others. Raises `DataError` where nothing
    agrees.

    >>> import numpy as np
    >>> logged = LoggedLists(*(np.array(one, np.int32) for one in ([0, 1], [0, 1], [0, 0], [0, 1])), np.array([0.8, 0.2]))
    >>> asked = AskedLists(np.array([0, 1], np.int32), np.array([0.8, 0.2]))
    >>> inverse_propensity(logged, np.array([0.0, 1.0]), asked).mean  # (0 / 0.8 + 1 / 0.2) / (1 / 0.8 + 1 / 0.2)
    0.8
    """
    weights, rewards = weights_of(logged, asked, clip=clip), _checked(logged, rewards)
    lists, places = _lists(logged), logged.by_visitor((asked.products >= 0).astype(np.float64))
    earned, weight = logged.by_visitor(weights * rewards), logged.by_visitor(weights)
    if not weight.sum() > 0:
        raise DataError(
            "the candidate shows nothing that the logged lists show at the same place, so they say nothing of it; "
            "log more lists, or explore more."
        )
    a_list, a_weight = places.sum() / lists.sum(), earned.sum() / weight.sum()
    added = a_list * (earned - a_weight * weight) * (lists.sum() / weight.sum())
    added += a_weight * (places - a_list * lists)
    return VisitorSums(a_list * a_weight * lists + added, lists)


def doubly_robust(
    logged: LoggedLists, rewards: Doubles, asked: AskedLists, *, clip: float = CLIP
) -> VisitorSums:
    """Return what a candidate's lists earn by guesses that are put right where the log knows.

    ``R = Σ (guess(asked) + w · (reward − guess(shown))) / lists``, with the guesses of `guesses`. It is right where the chances are
    right or the guesses are; what the log never shows is guessed.
    """
    weights, rewards = weights_of(logged, asked, clip=clip), _checked(logged, rewards)
    told = weights * (rewards - guesses(logged, rewards, logged.products))
    return VisitorSums(logged.by_visitor(guesses(logged, rewards, asked.products) + told), _lists(logged))


def overlap_of(logged: LoggedLists, asked: AskedLists, *, clip: float = CLIP) -> Overlap:
    """Return how much of a candidate the log can tell."""
    weights = weights_of(logged, asked, clip=clip)
    of_visitor = logged.by_visitor(weights)
    squares = float(np.square(of_visitor).sum())
    wanted = asked.products >= 0
    many = max(int(wanted.sum()), 1)
    never, hardly = wanted & (asked.chances <= 0), wanted & (asked.chances > 0) & (asked.chances < HARDLY)
    same = asked.products == logged.products
    return Overlap(
        logged.count,
        float(of_visitor.sum()) ** 2 / squares if squares else 0.0,
        float(never.sum()) / many,
        float(hardly.sum()) / many,
        int((same & (1 / logged.chances > clip)).sum()),
    )


def _lists(logged: LoggedLists) -> Doubles:
    return np.bincount(logged.visitors, minlength=logged.count).astype(np.float64)


def _checked(logged: LoggedLists, rewards: Doubles) -> Doubles:
    rewards = np.asarray(rewards, np.float64)
    if rewards.shape != logged.chances.shape or not np.isfinite(rewards).all() or (rewards < 0).any():
        raise DataError(
            "each place of the logged lists needs one reward, a finite number of at least 0; look for a spoilt price."
        )
    return rewards
