"""What outcomes and experiments look like in requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["OutcomeBody", "OutcomesAnswer", "OutcomesBody"]

Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Money = Annotated[float, Meta(ge=-1e12, le=1e12)]


class OutcomeBody(Struct, forbid_unknown_fields=True):
    """What became of one list, or a purchase without one."""

    user: Annotated[str, Meta(min_length=1, max_length=500)] | Whole
    kind: Annotated[
        Literal["shown", "clicked", "basket", "bought"],
        Meta(description="A list was shown; one of its products was clicked; a product was put into the basket, or bought."),
    ]  # fmt: skip
    product: (
        Annotated[
            Annotated[str, Meta(min_length=1, max_length=500)] | Whole,
            Meta(description="Needed for all kinds but `shown`."),
        ]
        | UnsetType
    ) = UNSET
    list_id: (
        Annotated[str, Meta(max_length=100, description="The id that came with the list.")] | UnsetType
    ) = UNSET
    time: (
        Annotated[
            Annotated[float, Meta(ge=0, le=253_402_300_799)] | Annotated[datetime, Meta(tz=True)],
            Meta(description="Seconds since 1970-01-01 UTC, or RFC 3339 with its zone; now, where left out."),
        ]
        | UnsetType
    ) = UNSET
    quantity: Annotated[float, Meta(ge=1e-9, le=1e9)] = 1.0
    price: (
        Annotated[float, Meta(ge=0, le=1e12, description="Of one piece, in the shop's currency.")] | UnsetType
    ) = UNSET
    margin: Annotated[Money, Meta(description="What the shop earns with one piece.")] | UnsetType = UNSET


class OutcomesBody(Struct, forbid_unknown_fields=True):
    """Outcomes; all of them are kept, or none."""

    outcomes: Annotated[list[OutcomeBody], Meta(min_length=1, extra_json_schema={"x-limit": "most_queries"})]


class OutcomesAnswer(Struct):
    """What was kept."""

    accepted: Annotated[int, Meta(description="How many are new; the others had been there before.")]
    repeated: Annotated[bool, Meta(description="Whether this idempotency key had been answered before.")]
    unknown_lists: Annotated[
        int,
        Meta(description="How many name a list that no server made; they were kept as outcomes without one."),
    ] = 0
