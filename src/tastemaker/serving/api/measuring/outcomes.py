"""The API's outcomes of lists: kept before they are acknowledged."""

from __future__ import annotations

from msgspec import UNSET

from tastemaker.serving.api.events import refuse_nul, written
from tastemaker.serving.api.measuring.schemas import OutcomeBody, OutcomesAnswer, OutcomesBody
from tastemaker.serving.api.moments import microseconds_of
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.measuring.list_ids import is_list_id
from tastemaker.serving.measuring.outcome_store import Outcome
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["add"]


async def add(request: RequestInfo, body: OutcomesBody) -> OutcomesAnswer:
    """Answer ``POST /api/v1/outcomes``: 200 once the outcomes are on the disk, or in the database that hosts share."""
    store = request.service.measuring.outcomes
    if store is None:
        raise Refusal(
            404,
            "this server takes no outcomes; start one with --events FILE.",
            missing="events",
        )
    outcomes = [_outcome(number, one) for number, one in enumerate(body.outcomes)]
    if request.service.settings.state is not None:
        refuse_nul(text for one in outcomes for text in (one.user, one.product))
    accepted, repeated = await written(
        request, lambda key, digest: store.add(outcomes, key=key, content=digest)
    )
    unknown = sum(one.list_id is not UNSET and not is_list_id(one.list_id) for one in body.outcomes)
    return OutcomesAnswer(accepted, repeated, unknown)


def _outcome(number: int, one: OutcomeBody) -> Outcome:
    if one.product is UNSET and one.kind != "shown":
        raise Refusal(
            422, f"the outcome {number} is {one.kind} and names no product; only `shown` may be without one. Nothing was kept."
        )  # fmt: skip
    if one.kind != "bought" and (one.price is not UNSET or one.margin is not UNSET):
        raise Refusal(
            422, f"the outcome {number} is {one.kind} and has a price or margin; only `bought` has them. Nothing was kept."
        )  # fmt: skip
    return Outcome(
        str(one.user),
        one.kind,
        None if one.time is UNSET else microseconds_of(one.time),
        "" if one.product is UNSET else str(one.product),
        one.list_id if one.list_id is not UNSET and is_list_id(one.list_id) else "",
        one.quantity,
        None if one.price is UNSET else one.price,
        None if one.margin is UNSET else one.margin,
    )
