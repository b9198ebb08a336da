"""What outcomes and experiments look like in requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["ExperimentAnswer", "OutcomeBody", "OutcomesAnswer", "OutcomesBody"]

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


class ExperimentSaid(Struct):
    """One experiment; moments and the window are in microseconds, the share and the holdout in percent."""

    name: str
    control: str
    treatment: str
    versions: list[int]
    share: float
    holdout: float
    salt: str
    metric: str
    visitors: int
    window: int
    began: int
    ended: int | None
    why: str
    shares: dict[str, float]


class DifferenceSaid(Struct):
    """Two means a visitor, and their difference with an interval of 95 % that holds at every look."""

    control: float | None
    treatment: float | None
    difference: float | None
    low: Annotated[float | None, Meta(description="Null, as `high`, while there are too few visitors.")]
    high: float | None
    relative: float | None


class ReportSaid(Struct):
    """What `tastemaker experiment report --json` prints."""

    experiment: ExperimentSaid
    at: int
    assigned: Annotated[dict[str, int], Meta(description="All visitors of each arm.")]
    counted: Annotated[dict[str, int], Meta(description="Those whose window has passed.")]
    ratio: Annotated[float | None, Meta(description="The p-value of the check of the assignment.")]
    differences: Annotated[dict[str, DifferenceSaid], Meta(description="Treatment − control, by metric.")]
    over_holdout: Annotated[dict[str, DifferenceSaid], Meta(description="Control − holdout, by metric.")]
    effect: float
    needed: Annotated[int | None, Meta(description="How many visitors an effect of this size takes.")]
    verdict: str
    days: Annotated[
        list[dict[str, Any]],
        Meta(description="Visitors and means of each arm, by the day of their first list."),
    ]
    looks: Annotated[
        list[dict[str, Any]],
        Meta(description="By metric, the difference and its interval as they stood at the end of each day."),
    ]


class DaySaid(Struct):
    """What happened since the day began in UTC, by the outcomes that were posted."""

    visitors: int
    lists: Annotated[int, Meta(description="Different lists that were shown and named by their ids.")]
    shown: int
    clicked: int
    basket: int
    bought: int
    revenue: float


class ExperimentAnswer(Struct):
    """The running experiment of a model, else its last, and the day's figures."""

    model: str
    at: Annotated[
        int, Meta(description="When the figures were computed, in microseconds since 1970-01-01 UTC.")
    ]
    age_seconds: float
    experiment: ExperimentSaid | None
    report: ReportSaid | None
    today: Annotated[dict[str, DaySaid] | None, Meta(description="By arm; `all` where no experiment runs.")]
    problem: Annotated[str, Meta(description="Why there are no figures, or none newer; else empty.")]
