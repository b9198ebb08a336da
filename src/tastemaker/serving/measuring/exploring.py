"""`Exploring`: which lists explore, what is drawn for them, and that it is logged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from tastemaker.ranking.exploring.swaps import LONGEST, POOL, chances, drawn
from tastemaker.ranking.rank import VisitorList
from tastemaker.ranking.visitors import Visitor
from tastemaker.serving.measuring.list_ids import list_id
from tastemaker.serving.measuring.served_lists import ServedList, ServedLists
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.types import Rows

__all__ = ["Explored", "Exploring"]


@dataclass(frozen=True, slots=True)
class Explored:
    """A list as it is shown, and which place of the ranking stands at each of its places."""

    found: VisitorList
    order: Rows

    @property
    def ranks(self) -> list[int]:
        """Return the ranks, from 1, at which exploring put another product than the ranking has there."""
        return (np.flatnonzero(self.order != np.arange(len(self.order))) + 1).tolist()


@dataclass(frozen=True, slots=True)
class Exploring:
    """With which chance each place explores, and where lists are logged."""

    rate: float
    log: ServedLists

    @staticmethod
    def reach(k: int) -> int | None:
        """Return how many first places of a ranking a list of k draws from; ``None`` for one that is too long to explore."""
        return POOL * k if k <= LONGEST else None

    def drawn(
        self, loaded: LoadedModel, visitor: Visitor, found: VisitorList, ranking: VisitorList
    ) -> Explored | None:
        """Return the list of a visitor as exploring draws it, the same on every worker and host; ``None`` where it explores not.

        It does not for a visitor without an id, in best sellers of categories, and where a rule that moves products gives the
        shorter list another beginning than the longer ranking.
        """
        shown, places = len(found.rows), len(ranking.rows)
        if "user" not in visitor.named or found.source == "category best sellers" or found.filled:
            return None
        if places <= found.pinned + 1 or not np.array_equal(ranking.rows[:shown], found.rows):
            return None
        seed = list_id(loaded.label, visitor.named["user"], ranking.rows)
        order = drawn(shown, places, rate=self.rate, pinned=found.pinned, seed=f"{shown} {seed}")
        reasons = None if ranking.reasons is None else tuple(ranking.reasons[place] for place in order)
        rows, scores = ranking.rows[order], ranking.scores[order]
        return Explored(replace(found, rows=rows, scores=scores, reasons=reasons), order)

    def keep(
        self,
        loaded: LoadedModel,
        visitor: Visitor,
        explored: Explored,
        ranking: VisitorList,
        *,
        list_id: str,
        asked: Mapping[str, Any],
    ) -> None:
        """Log a list that is about to be answered."""
        order, pinned = explored.order, explored.found.pinned
        table = chances(len(order), len(ranking.rows), rate=self.rate, pinned=pinned)
        places = [str(product) for product in loaded.product_ids.at(ranking.rows)]
        self.log.note(
            ServedList(
                list_id=list_id,
                user=str(visitor.named["user"]),
                model=loaded.name,
                version=loaded.version,
                time=int(time.time() * 1_000_000),
                rate=self.rate,
                pinned=pinned,
                shown=tuple(places[place] for place in order.tolist()),
                chances=tuple(table[order, np.arange(len(order))].tolist()),
                ranking=tuple(places),
                asked=dict(asked),
            )
        )
