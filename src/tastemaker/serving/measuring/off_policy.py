"""From a file of events to an estimate: the lists that explored, what became of them, and what other models would have shown."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from tastemaker.errors import DataError, EventsProblem
from tastemaker.evaluation.off_policy.logged import AskedLists, LoggedLists
from tastemaker.evaluation.off_policy.report import Metric, OffPolicy, judged
from tastemaker.ranking.exploring.swaps import chances
from tastemaker.serving.measuring.asked_again import Asked, asked_again
from tastemaker.serving.measuring.outcome_store import Outcomes
from tastemaker.serving.measuring.served_lists import ServedList, read_served
from tastemaker.types import Doubles

__all__ = ["METRICS", "FromLog", "estimated"]

METRICS: tuple[Metric, ...] = ("clicks", "purchases", "revenue")


@dataclass(frozen=True, slots=True)
class FromLog:
    """What the log says, and what of it was used."""

    found: OffPolicy
    versions: Mapping[int, int]
    """How many of the lists each version made"""
    rates: tuple[float, ...]
    """The rates with which they explored"""
    window: int
    """How long after it was first served a list's outcomes count, in microseconds"""
    left_out: Mapping[str, int]
    """Lists that do not count, by the reason"""
    unknown: Mapping[str, float]
    """For each model the share of the logged products that it does not know"""
    again: Mapping[str, float]
    """For each model of which the log has lists, the share of those that it would make the same"""


def estimated(
    events: Path,
    models: Sequence[Path],
    *,
    metric: Metric,
    window: int,
    catalogue: Path | None = None,
    now: int | None = None,
) -> FromLog:
    """Estimate what the lists of one or two models would have earned, from the lists that a file of events holds.

    A list counts that was shown and whose ``window``, in microseconds, has passed. Raises `EventsProblem` for a file without lists
    or outcomes, `DataError` where a model has nothing in common with the log, `ModelFolderProblem`.
    """
    now = int(time.time() * 1_000_000) if now is None else now
    every = list(read_served(events))
    with ExitStack() as opened:
        asked = [opened.enter_context(asked_again(folder, events, catalogue=catalogue)) for folder in models]
        served, left_out = _of_model(every, asked[0].loaded.name, events)
        rewards, kept, more = _told(events, served, window, now)
        served = [served[place] for place in kept]
        log = _Log(served)
        unknown = {one.name: log.unknown(one) for one in asked}
        shown = [(one.name, one.lists(served)) for one in asked]
        found = judged(
            log.logged(),
            {name: rewards[name] for name in METRICS},
            [(name, log.asked(lists)) for name, lists in shown],
            metric=metric,
        )
    again = {
        one.name: share
        for one, (_, lists) in zip(asked, shown, strict=True)
        if (share := log.again(one, lists)) is not None
    }
    return FromLog(
        found,
        dict(sorted(Counter(one.version for one in served).items())),
        tuple(sorted({one.rate for one in served})),
        window,
        {reason: count for reason, count in {**left_out, **more}.items() if count},
        unknown,
        again,
    )


def _of_model(
    every: Sequence[ServedList], model: str, events: Path
) -> tuple[list[ServedList], dict[str, int]]:
    """Return the lists of a model, or of the only one there is, and how many are of others."""
    names = Counter(one.model for one in every)
    if model not in names and len(names) > 1:
        raise EventsProblem(
            f"{events.name} holds lists of {', '.join(sorted(names))}, and none of {model}; give a version of one of those first."
        )
    name = model if model in names else next(iter(names))
    for one in every:
        _check(one, events)
    return [one for one in every if one.model == name], {"of other models": len(every) - names[name]}


def _check(one: ServedList, events: Path) -> None:
    """Refuse a list that no server can have logged."""
    if not len(one.shown) == len(one.chances) or not set(one.shown) <= set(one.ranking):
        raise EventsProblem(
            f"the list {one.list_id} in {events.name} is spoilt: each product needs a chance and a place in its ranking; remove it."
        )
    for product, chance in zip(one.shown, one.chances, strict=True):
        if not (isfinite(chance) and 0 < chance <= 1):
            raise EventsProblem(
                f"the list {one.list_id} in {events.name} shows the product {product} with the chance {chance:g}; what was shown "
                "had a chance above 0, and at most 1. Remove it."
            )


def _told(
    events: Path, served: Sequence[ServedList], window: int, now: int
) -> tuple[dict[Metric, Doubles], list[int], dict[str, int]]:
    """Return what each place of the lists that count earned, which lists those are, and how many do not, by the reason."""
    begins = np.concatenate([[0], np.cumsum([len(one.shown) for one in served])]).astype(np.int64)
    lists = {one.list_id: place for place, one in enumerate(served)}
    places = [{product: place for place, product in enumerate(one.shown)} for one in served]
    earned = {name: np.zeros(int(begins[-1])) for name in METRICS}
    shown = np.zeros(len(served), np.bool_)
    any_outcome = False
    with closing(Outcomes.read(events)) as outcomes:
        for one in outcomes.of_lists(window):
            any_outcome = True
            which = lists.get(one.list)
            if which is None or not served[which].time <= one.time < served[which].time + window:
                continue
            if one.kind == "shown":
                shown[which] = True
                continue
            place = places[which].get(one.product)
            if place is None:
                continue
            at = int(begins[which]) + place
            if one.kind == "clicked":
                earned["clicks"][at] = 1.0
            else:
                earned["purchases"][at] += 1.0
                earned["revenue"][at] += one.price * one.quantity
    if not any_outcome:
        raise EventsProblem(
            f"{events.name} holds {len(served):,} lists that explored and no outcome that names a list; post `shown`, `clicked` "
            "and `bought` with `list_id` to /api/v1/outcomes."
        )
    old = np.array([one.time + window <= now for one in served], np.bool_)
    kept = np.flatnonzero(shown & old)
    if not len(kept):
        raise EventsProblem(
            f"none of the {len(served):,} lists that explored counts: {int((~shown).sum()):,} have no outcome `shown`, and of "
            f"{int((shown & ~old).sum()):,} the {window / 86_400_000_000:g} days have not passed (--window)."
        )
    counts = np.repeat(shown & old, np.diff(begins))
    left_out = {
        "not shown": int((~shown).sum()),
        "shown too lately": int((shown & ~old).sum()),
    }
    return {name: values[counts] for name, values in earned.items()}, kept.tolist(), left_out


class _Log:
    """Logged lists as numbers, and what models show in the same ones."""

    def __init__(self, served: Sequence[ServedList]) -> None:
        self._served = served
        self._numbers: dict[str, int] = {}
        for one in served:
            for product in one.ranking:
                self._numbers.setdefault(product, len(self._numbers))
        self._lengths = np.array([len(one.shown) for one in served])

    def logged(self) -> LoggedLists:
        """Return what was shown."""
        users: dict[str, int] = {}
        visitors = [users.setdefault(one.user, len(users)) for one in self._served]
        return LoggedLists(
            np.array(visitors, np.int32),
            np.repeat(np.arange(len(visitors)), self._lengths).astype(np.int32),
            np.concatenate([np.arange(length) for length in self._lengths]).astype(np.int32),
            np.array([self._numbers[product] for one in self._served for product in one.shown], np.int32),
            np.array([chance for one in self._served for chance in one.chances], np.float64),
        )

    def asked(self, lists: Sequence[Sequence[str]]) -> AskedLists:
        """Return what a model shows at the same places, and with which chance the log shows that there."""
        products, known = [], []
        strange = len(self._numbers)
        for one, shown in zip(self._served, lists, strict=True):
            table = chances(len(one.shown), len(one.ranking), rate=one.rate, pinned=one.pinned)
            places = {product: place for place, product in enumerate(one.ranking)}
            for rank in range(len(one.shown)):
                product = shown[rank] if rank < len(shown) else None
                place = None if product is None else places.get(product)
                products.append(-1 if product is None else self._numbers.get(product, strange))
                known.append(0.0 if place is None else float(table[place, rank]))
        return AskedLists(np.array(products, np.int32), np.array(known, np.float64))

    def unknown(self, asked: Asked) -> float:
        """Return the share of the products that a model does not know; raise `DataError` where it knows none."""
        ids = asked.loaded.product_ids
        missing = sum(ids.row_of(product) is None for product in self._numbers)
        if missing == len(self._numbers):
            raise DataError(
                f"{asked.name} knows none of the {missing:,} products of the logged lists, such as {next(iter(self._numbers))!r}; "
                "give a model of the same shop."
            )
        return missing / len(self._numbers)

    def again(self, asked: Asked, lists: Sequence[Sequence[str]]) -> float | None:
        """Return the share of the lists of a model's own version that it makes the same; ``None`` where the log has none."""
        loaded = asked.loaded
        same = [
            list(shown) == list(one.ranking[: len(one.shown)])
            for one, shown in zip(self._served, lists, strict=True)
            if (one.model, one.version) == (loaded.name, loaded.version)
        ]
        return sum(same) / len(same) if same else None
