"""What a model would have shown the visitors of logged lists: asked as its server would have been, at that moment."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from sys import intern

from tastemaker.errors import ModelFolderProblem
from tastemaker.ranking.live.knowing import Facts
from tastemaker.ranking.rank import rank_visitors
from tastemaker.ranking.visitors import Visitor, Visitors
from tastemaker.serving.answering.active_rules import RulesInForce
from tastemaker.serving.answering.event_store import Event, Events
from tastemaker.serving.answering.hidden import Hidden
from tastemaker.serving.answering.live_shop import AHEAD
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.answering.visitors import visitor_of
from tastemaker.serving.measuring.served_lists import ServedList
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.models.registry import Registry, find_versions

__all__ = ["Asked", "asked_again"]

HOUR = 3_600_000_000
"""What everybody buys is looked at once in so many microseconds, what a visitor bought at each list"""


class Asked:
    """One model, opened as a server opens it, and what it shows."""

    def __init__(self, name: str, loaded: LoadedModel, state: ApiState, past: _Past) -> None:
        self.name, self.loaded = name, loaded
        self._state, self._past = state, past

    def lists(self, served: Sequence[ServedList]) -> list[list[str]]:
        """Return for each logged list, in the order of time, the products that the model would have shown."""
        return asyncio.run(self._lists(served))

    async def _lists(self, served: Sequence[ServedList]) -> list[list[str]]:
        found: list[list[str]] = []
        hours: dict[int, list[ServedList]] = defaultdict(list)
        for one in served:
            hours[one.time // HOUR].append(one)
        for some in hours.values():
            self._past.more = True
            found += await self._of_an_hour(some)
        return found

    async def _of_an_hour(self, served: Sequence[ServedList]) -> list[list[str]]:
        self._past.until = served[0].time
        shop = self._state.shop(self.loaded)
        while shop is not None and self._past.more:
            shop.look()
        standing = await self._state.standing(self.loaded, None)
        visitors = [await self._visitor(one) for one in served]
        book = self._state.rules.book(self.loaded, at=served[0].time)
        lists = rank_visitors(
            standing.packed,
            Visitors.of(visitors),
            book,
            k=max(len(one.shown) for one in served),
            include_purchased=bool(book.include_purchased),
        ).lists
        ids = self.loaded.product_ids
        return [
            [intern(str(product)) for product in ids.at(lists[place][0][: len(one.shown)])]
            for place, one in enumerate(served)
        ]

    async def _visitor(self, one: ServedList) -> Visitor:
        self._past.until = one.time
        known = one.asked
        facts = Facts(known.get("context", {}), known.get("attributes", {}), known.get("viewed", []))
        return await visitor_of(self._state, self.loaded, one.user, known.get("basket", ()), facts)


class _Past(Events):
    """The live events of a file that had happened by a moment."""

    until = 0
    more = True
    """Whether the last look found as many as it may"""

    def events_of(self, users: Sequence[str]) -> dict[str, list[Event]]:
        """Return the live events of users until then."""
        return {
            user: [event for event in events if event.time < self.until]
            for user, events in super().events_of(users).items()
        }

    def after(self, number: int, *, most: int) -> list[tuple[int, Event]]:
        """Return the events after a number, up to the first that had not happened; those dated far ahead move nothing anyway."""
        found = super().after(number, most=most)
        self.more = len(found) == most
        ahead = time.time_ns() // 1000 + AHEAD
        late = next(
            (place for place, (_, event) in enumerate(found) if self.until <= event.time <= ahead), None
        )
        self.more &= late is None
        return found if late is None else found[:late]


@contextmanager
def asked_again(folder: Path, events: Path, *, catalogue: Path | None = None) -> Iterator[Asked]:
    """Open a model (a folder of versions, of which the one that answers counts, or a version's) and yield what asks it.

    Rules are those beside it as they stand now. Raises `ModelFolderProblem`, `EventsProblem`.
    """
    if not folder.is_dir() or not find_versions(folder):
        raise ModelFolderProblem(
            f"{folder} holds no model; give a version's folder, such as models/recommender/8."
        )
    registry = Registry(folder, catalogue=catalogue, keep=1)
    registry.look()
    served = list(registry.models.values())
    if len(served) != 1:
        named = ", ".join(one.name for one in served)
        raise ModelFolderProblem(f"{folder} holds several models ({named}); give one of their folders.")
    if served[0].default is None:
        why = "; ".join(served[0].refused.values())
        raise ModelFolderProblem(f"{folder} has no version that can answer: {why}")
    loaded = served[0].get()
    with closing(_Past(events)) as past:
        yield Asked(str(folder), loaded, ApiState(RulesInForce(registry), past, Hidden(registry)), past)
