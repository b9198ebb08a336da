"""Why: for each recommended product, which of the visitor's purchases speak for it, and how much."""

from __future__ import annotations

from tastemaker.ranking.fallbacks import Answer, Visitor
from tastemaker.ranking.why import Buyers, Parts, parts_of, spoken_for
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.api.schemas import Explained, Speaker
from tastemaker.serving.models.loaded_model import LoadedModel

__all__ = ["reasons_of"]

MOST = 3
"""So many purchases are named as reasons for a product; the rest is summed up."""


def reasons_of(
    loaded: LoadedModel, state: ApiState, include_purchased: bool, visitor: Visitor, found: Answer
) -> list[Explained]:
    """Return the reasons for each product of a list, in its order; their numbers add up to its score."""
    parts = parts_of(
        loaded.model, found.speakers, found.ruled.rows,
        user=visitor.user, times=visitor.held_times, include_purchased=include_purchased,
    )  # fmt: skip
    buyers = state.buyers(loaded)
    return [_reason(loaded, parts, place, buyers) for place in range(len(found.ruled.rows))]


def _reason(loaded: LoadedModel, parts: Parts, place: int, buyers: Buyers) -> Explained:
    spoken = spoken_for(parts, place, most=MOST, buyers=buyers)
    return Explained(
        popularity=float(parts.popularity[place]),
        taste=float(parts.own_taste[place]),
        repeat=float(parts.repeat[place]),
        purchases=[
            Speaker(loaded.product_ids.one(one.row), one.taste, one.memory, one.together or 0)
            for one in spoken
        ],
        others_taste=float(parts.taste[:, place].sum()) - sum(one.taste for one in spoken),
        others_memory=float(parts.memory[:, place].sum()) - sum(one.memory for one in spoken),
    )
