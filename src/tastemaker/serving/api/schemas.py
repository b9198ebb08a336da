"""The bodies, queries and answers of the API: one declaration each, which validates requests and describes them in OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tastemaker.data.conditions import LONGEST
from tastemaker.data.past import PURCHASE
from tastemaker.ranking.as_json import FoundByIndex, Id, Listed, Product, RulesSaid
from tastemaker.ranking.rules.rule_book import Removal

__all__ = [
    "Answered",
    "BasketBody",
    "BatchAnswer",
    "BatchBody",
    "BulkAnswer",
    "EffectAnswer",
    "EffectBody",
    "EventsAnswer",
    "EventsBody",
    "ExportQuery",
    "ForgetAnswer",
    "ForgetQuery",
    "ForgottenBy",
    "Found",
    "HistoryAnswer",
    "HistoryQuery",
    "IdlePinSaid",
    "LineProblem",
    "ListQuery",
    "ModelAnswer",
    "ModelQuery",
    "ModelsAnswer",
    "NamedRuleBody",
    "Problem",
    "ProductsAnswer",
    "PurchaseBody",
    "Purchased",
    "RulesAnswer",
    "RulesBody",
    "RulesHistoryAnswer",
    "RulesOfModel",
    "RulesPublished",
    "SearchQuery",
    "SimilarAnswer",
    "SimilarQuery",
    "VersionAnswer",
]

Number = Annotated[float, Meta(ge=-1e300, le=1e300)]
Length = Annotated[
    int, Meta(ge=1, description="The length of the list.", extra_json_schema={"x-limit": "most_k"})
]
Some = Meta(extra_json_schema={"x-limit": "most_basket"})
Most = Meta(max_length=LONGEST)
"""The rules of a model have the limit of the file"""
Many = Meta(extra_json_schema={"x-limit": "most_queries"})
Value = str | bool | Number
"""What a column of the log holds"""
Name = Annotated[
    str, Meta(max_length=200, description="The model's name; may be left out where only one is served.")
]
Version = Annotated[
    int, Meta(ge=1, le=2**63 - 1, description="A version in place of the stable or latest one.")
]
Label = Annotated[
    str,
    Meta(
        max_length=100, description="The label of a version, such as `canary`; not together with `version`."
    ),
]


At = Annotated[
    float,
    Meta(
        ge=0,
        le=253_402_300_799,
        description="When the visitor asks, in seconds since 1970-01-01 UTC; by default just after the shop's latest event.",
    ),
]
Include = Annotated[
    bool, Meta(description="Whether products that were bought, or are in the basket, may be listed.")
]
Why = Annotated[bool, Meta(description="Whether each product comes with the reasons for its score.")]
Details = Annotated[bool, Meta(description="Whether each product comes with what the catalogue says of it.")]
Unknown = Annotated[
    Literal["fallback", "error"],
    Meta(
        description="What an unknown user, or a basket without a known product, gets: best sellers, or an error."
    ),
]


# What requests hold -----------------------------------------------------------------------------------------


WHERE = Meta(
    description="For columns of the catalogue: a value, a list of values, {not: [values]}, or {min, max}.",
    extra_json_schema={
        "additionalProperties": {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
                {
                    "type": "object",
                    "properties": {
                        "in": {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
                    },
                    "required": ["in"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "not": {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
                    },
                    "required": ["not"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
                    "minProperties": 1,
                    "additionalProperties": False,
                },
            ]
        }
    },
)


def _said(kind: str, description: str) -> Meta:
    """Return a declaration that is checked by the rules themselves, which say what is wrong in words."""
    return Meta(description=description, extra_json_schema={"type": kind})


class NamedRuleBody(
    Struct, forbid_unknown_fields=True, omit_defaults=True, rename={"since": "from", "until": "to"}
):
    """One rule of a merchandiser; its products are those listed, or that satisfy `where`, or both."""

    do: Literal["pin", "ban", "only", "boost", "bury", "at_most"]
    name: Annotated[str, Meta(max_length=200)] = ""
    products: Annotated[list[Id], Some] = []
    where: Annotated[dict[str, Any], WHERE] = {}
    factor: Annotated[Any, _said("number", "How much likelier (boost) or unlikelier (bury).")] | UnsetType = (
        UNSET
    )
    places: Annotated[Any, _said("integer", "By how many places of a list, 1 to 1,000.")] | UnsetType = UNSET
    column: Annotated[str, Meta(description="Of `at_most`: what products have alike.")] | UnsetType = UNSET
    most: Annotated[Any, _said("integer", "How many alike, or how many are pinned.")] | UnsetType = UNSET
    since: (
        Annotated[str, Meta(description="The first day, or a time of RFC 3339 with its zone.")] | UnsetType
    ) = UNSET
    until: (
        Annotated[str, Meta(description="The last day, or a time; before it the rule holds.")] | UnsetType
    ) = UNSET
    paused: bool = False


class RulesBody(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which products may be listed, applied before ranking; see docs/rules.md."""

    allow: Annotated[list[Id], Some, Meta(description="Only these products.")] | UnsetType = UNSET
    deny: Annotated[list[Id], Some, Meta(description="None of these products.")] = []
    where: Annotated[dict[str, Any], WHERE] = {}
    minimum_price: Number | UnsetType = UNSET
    at_most: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=1_000_000)]],
        Meta(
            description="For columns of the catalogue: how many products of a list may have the same value."
        ),
    ] = {}
    pin: Annotated[list[Id], Some, Meta(description="First of all, in this order.")] = []
    include_purchased: Include | UnsetType = UNSET
    rules: Annotated[
        list[NamedRuleBody], Meta(description="Rules with a name, a time and a strength of their own.")
    ] = []


class RulesOfModel(RulesBody):
    """The rules of a model, as its file holds them; see docs/rules.md."""

    allow: Annotated[list[Id], Most, Meta(description="Only these products.")] | UnsetType = UNSET
    deny: Annotated[list[Id], Most, Meta(description="None of these products.")] = []
    pin: Annotated[list[Id], Most, Meta(description="First of all, in this order.")] = []


class ModelQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which model and version answers."""

    model: Name | UnsetType = UNSET
    version: Version | UnsetType = UNSET
    label: Label | UnsetType = UNSET


Objective = Annotated[
    Literal["likely", "revenue"],
    Meta(description="Whether a list is what is bought most likely, or what is worth most on average."),
]

ValueDial = Annotated[
    float, Meta(ge=0, le=1, description="With objective=revenue: from 0, most likely, to 1, most valuable.")
]


Tail = Annotated[
    float,
    Meta(
        ge=0,
        le=1,
        description="How many places of best sellers go to products that fewer buy: 0 none, 1 most.",
    ),
]


class ListQuery(ModelQuery, kw_only=True, frozen=True):
    """How a list is made."""

    k: Length = 10
    at: At | UnsetType = UNSET
    include_purchased: Include | UnsetType = UNSET
    objective: Objective = "likely"
    value_dial: ValueDial = 1.0
    tail: Tail = 0.0
    why: Why = False
    details: Details = False
    on_unknown: Unknown = "fallback"
    allow: Annotated[list[str], Some, Meta(description="Only this product; may come again.")] | UnsetType = (
        UNSET
    )
    deny: Annotated[list[str], Some, Meta(description="Not this product; may come again.")] = []
    pin: Annotated[list[str], Some, Meta(description="This product first; may come again.")] = []
    where: Annotated[
        list[Annotated[str, Meta(pattern="^[^:]+:")]],
        Some,
        Meta(
            description="`COLUMN:VALUE` of the catalogue; may come again: any of a column's values, and all columns. "
            "For a column of numbers also one range: `COLUMN:LOW..HIGH`, `COLUMN:LOW..` or `COLUMN:..HIGH`, bounds included."
        ),
    ] = []
    minimum_price: Number | UnsetType = UNSET
    at_most: Annotated[
        list[Annotated[str, Meta(pattern="^[^:]+:[1-9][0-9]{0,5}$")]],
        Some,
        Meta(description="`COLUMN:N`: at most N products of a list have the same value; may come again."),
    ] = []

    @property
    def is_plain(self) -> bool:
        """Return whether the query has no rule, as most have."""
        some = self.deny or self.pin or self.where or self.at_most
        return (
            not some
            and self.allow is UNSET
            and self.minimum_price is UNSET
            and self.include_purchased is UNSET
        )

    @property
    def is_as_learned(self) -> bool:
        """Return whether the list is asked for as of now, as the model ranks, and under the rules in force alone."""
        return self.is_plain and self.at is UNSET and self.objective == "likely" and not self.tail


class BodyOfList(ModelQuery, kw_only=True, frozen=True):
    """What bodies that ask for lists have in common."""

    k: Length = 10
    at: At | UnsetType = UNSET
    include_purchased: Include | UnsetType = UNSET
    objective: Objective = "likely"
    value_dial: ValueDial = 1.0
    tail: Tail = 0.0
    why: Why = False
    details: Details = False
    on_unknown: Unknown = "fallback"
    rules: RulesBody | UnsetType = UNSET

    @property
    def is_as_learned(self) -> bool:
        """Return whether lists are asked for as of now, as the model ranks, and under the rules in force alone."""
        plain = self.rules is UNSET and self.include_purchased is UNSET and self.at is UNSET
        return plain and self.objective == "likely" and not self.tail


class BasketBody(BodyOfList, kw_only=True, frozen=True):
    """A basket, and perhaps the user who holds it."""

    basket: Annotated[list[Id], Some, Meta(description="Product ids; may be empty.")]
    user: Id | UnsetType = UNSET
    context: Annotated[
        dict[str, Value],
        Meta(description="What is known of this request, by the columns that were learned from."),
    ] = {}
    attributes: Annotated[
        dict[str, Value],
        Meta(description="What is known of the user, by the columns that were learned from."),
    ] = {}
    viewed: Annotated[list[Id], Some, Meta(description="Products just viewed, the oldest first.")] = []


class BatchBody(BodyOfList, kw_only=True, frozen=True):
    """Several users or baskets; the answers stand in the same order, users first."""

    users: Annotated[list[Id], Many] = []
    baskets: Annotated[list[Annotated[list[Id], Some]], Many] = []


class EffectBody(Struct, forbid_unknown_fields=True):
    """Rules to be tried in the place of those in force."""

    rules: RulesOfModel
    k: Length = 10
    customers: Annotated[int, Meta(ge=1, le=2_000, description="How many customers are asked at most.")] = 300


class SimilarQuery(ModelQuery, kw_only=True, frozen=True):
    """How neighbours are sought."""

    k: Length = 10
    include_self: Annotated[bool, Meta(description="Whether the product itself is listed.")] = False
    similarity: Annotated[
        Literal["dot", "cosine"],
        Meta(
            description="By dot product, or by cosine: then only the direction of the taste vectors counts."
        ),
    ] = "dot"
    details: Details = False


class SearchQuery(ModelQuery, kw_only=True, frozen=True):
    """What is searched for among the products."""

    search: Annotated[
        str,
        Meta(
            max_length=200,
            description="An id or its beginning, or words of any column, spelling mistakes forgiven; empty: what sold best.",
        ),
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class HistoryQuery(ModelQuery, kw_only=True, frozen=True):
    """How a user's history is shown."""

    details: Details = False


class PurchaseBody(Struct, forbid_unknown_fields=True):
    """One purchase, or another event."""

    user: Annotated[str, Meta(min_length=1, max_length=500)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    product: (
        Annotated[str, Meta(min_length=1, max_length=500)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    )
    time: (
        Annotated[
            Annotated[float, Meta(ge=0, le=253_402_300_799)] | Annotated[datetime, Meta(tz=True)],
            Meta(description="Seconds since 1970-01-01 UTC, or RFC 3339 with its zone; now, where left out."),
        ]
        | UnsetType
    ) = UNSET
    quantity: Annotated[float, Meta(ge=1e-9, le=1e9)] = 1.0
    kind: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="`purchase`, or a kind of event that the model learned from, such as `view`.",
        ),
    ] = PURCHASE
    context: Annotated[
        dict[str, Value],
        Meta(max_length=100, description="What was known of the request, by the columns of the log."),
    ] = {}


class EventsBody(Struct, forbid_unknown_fields=True):
    """Purchases and events of other kinds; all of them are kept, or none."""

    purchases: Annotated[list[PurchaseBody], Many, Meta(min_length=1)]


class ExportQuery(Struct, forbid_unknown_fields=True):
    """Which events are exported, and as what."""

    format: Literal["jsonl", "csv", "parquet"] = "jsonl"
    raw_cells: Annotated[
        bool,
        Meta(
            description="Whether ids of a CSV that begin with `=`, `+`, `-` or `@` stay as they are; "
            "else an apostrophe is put before them."
        ),
    ] = False
    after: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Only events with a greater number.")] = 0
    limit: Annotated[int, Meta(ge=1, le=1_000_000)] = 100_000


# What answers hold ------------------------------------------------------------------------------------------


class Problem(Struct):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Answered(Listed, kw_only=True):
    """One list, and which model made it."""

    model: str
    version: int


class BatchAnswer(Struct):
    """The lists of a batch, in the order asked: users first."""

    model: str
    version: int
    answers: list[Listed]


class SimilarAnswer(Struct):
    """The nearest products."""

    model: str
    version: int
    product: Id
    similar: list[Product]
    list_id: Annotated[str, Meta(description="The list's id, for its outcomes.")]
    exact: FoundByIndex = UNSET
    rules: Annotated[RulesSaid, Meta(description="Where the file of rules holds.")] | UnsetType = UNSET
    about: dict[str, Any] | UnsetType = UNSET


class Found(Struct):
    """One product of the catalogue."""

    product: Id
    buyers: int
    about: dict[str, Any]


class ProductsAnswer(Struct):
    """Products found, best match first."""

    model: str
    version: int
    products: list[Found]
    columns: Annotated[dict[str, str], Meta(description="The catalogue's columns and their types.")]
    parts: Annotated[
        dict[str, str], Meta(description="Which column is the name, price, image, category, brand, stock.")
    ]


class Purchased(Struct):
    """One product of a history."""

    product: Id
    times: int
    live: Annotated[bool, Meta(description="Whether it was bought since the model was trained.")]
    about: dict[str, Any] | UnsetType = UNSET


class HistoryAnswer(Struct):
    """What a user bought, as far as the model knows the products."""

    model: str
    version: int
    user: Id
    purchases: list[Purchased]


class ForgetQuery(Struct, forbid_unknown_fields=True):
    """Which models forget a user, and how far."""

    model: Annotated[str, Meta(max_length=200, description="One model; by default all that are served.")] = ""
    everywhere: Annotated[
        bool, Meta(description="Whether older versions and copies that hold the user are removed.")
    ] = False
    in_advance: Annotated[
        bool, Meta(description="Whether a user of whom nothing is known is kept out of later versions.")
    ] = False


class EmptiedVersion(Struct):
    """A version in service, written anew without the user."""

    version: int
    receipt: Annotated[str, Meta(description="Its checksum; `tastemaker receipt` computes it again.")]


class ForgottenBy(Struct):
    """What one model did to forget a user."""

    model: str
    emptied: list[EmptiedVersion]
    removed: Annotated[list[str], Meta(description="Older versions, copies and indexes that were removed.")]
    left: Annotated[list[str], Meta(description="Those that still hold the user.")]
    unreadable: Annotated[list[str], Meta(description="Those that cannot be read, and may hold the user.")]


class ForgetAnswer(Struct):
    """A user is forgotten: no list, history or export holds anything of them, and no later run learns from them."""

    user: str
    live_events: Annotated[int, Meta(description="How many live events and outcomes were deleted.")]
    models: list[ForgottenBy]
    again: Annotated[bool, Meta(description="Whether the user had been forgotten before.")]


class VersionAnswer(Struct):
    """One version that answers."""

    version: int
    created: str
    counts: dict[str, Any]
    checksum: str
    preset: str | None
    metrics: dict[str, Any] | None


class ModelAnswer(Struct):
    """One model and its versions."""

    name: str
    default: int | None
    versions: list[VersionAnswer]
    labels: dict[str, int]
    refused: dict[str, str]
    rules_problem: str | None


class ModelsAnswer(Struct):
    """What is served."""

    models: list[ModelAnswer]


class IdlePinSaid(Struct):
    """A pin without effect."""

    product: Id
    rule: Annotated[
        str | None,
        Meta(description="The rule that removes the product; null where the model does not know it."),
    ]


class RulesAnswer(Struct):
    """The rules in force for a model."""

    model: str
    rules: RulesOfModel
    problem: Annotated[
        str | None, Meta(description="What is wrong with the file; the former rules are in force.")
    ]
    unknown: list[Id]
    candidates: int
    allowed: int
    removed: list[Removal]
    mark: Annotated[
        str,
        Meta(
            description="Names the rules as they stand: sent as `If-Match`, a change of the catalogue is no conflict."
        ),
    ]
    idle_pins: Annotated[list[IdlePinSaid], Meta(description="Pins that put their product into no list.")]
    idle_rules: Annotated[list[str], Meta(description="Named rules in force that are about no product.")]


class RulesPublished(Struct):
    """One publishing of rules."""

    number: int
    time: str
    key: Annotated[
        str | None, Meta(description="The name of the key; null for a file that was there before.")
    ]
    rules: RulesOfModel


class RulesHistoryAnswer(Struct):
    """What was published, the newest first."""

    model: str
    published: list[RulesPublished]


class EffectAnswer(Struct):
    """What rules would change in the lists of a sample of customers, and what they would cost."""

    model: str
    version: int
    k: int
    candidates: int
    allowed: int
    idle_pins: list[IdlePinSaid]
    idle_rules: list[str]
    customers: int
    changed: Annotated[int, Meta(description="How many of their lists differ in any place.")]
    entered: Annotated[int, Meta(description="Products that are in a list only afterwards, over all lists.")]
    left: int
    moved: Annotated[float, Meta(description="Mean places by which a product that stays in a list moves.")]
    pinned_shown: Annotated[
        float | None, Meta(description="The share of pins that are shown, over all lists.")
    ]
    held_out: Annotated[
        Literal["purchases since training", "last purchases", "none"],
        Meta(
            description="What is asked for: purchases that the model has not seen, where there are enough; else each customer's "
            "last purchase, left out of what they are known by."
        ),
    ]
    questions: int
    ndcg_before: float | None
    ndcg_after: float | None


class EventsAnswer(Struct):
    """What was kept."""

    accepted: int
    repeated: Annotated[bool, Meta(description="Whether this idempotency key had been answered before.")]
    unknown_kinds: (
        Annotated[
            list[str],
            Meta(
                description="Kinds that no model in service learned from: kept for the next training, without a say today."
            ),
        ]
        | UnsetType
    ) = UNSET


class LineProblem(Struct):
    """A line that was refused."""

    line: Annotated[int, Meta(description="Its number, from 1.")]
    detail: str


class BulkAnswer(Struct):
    """What was kept of many lines."""

    accepted: int
    refused: int
    repeated: Annotated[bool, Meta(description="Whether this idempotency key had been answered before.")]
    problems: Annotated[list[LineProblem], Meta(description="The first 100 lines that were refused.")] = []
    unknown_kinds: (
        Annotated[list[str], Meta(description="Kinds that no model in service learned from.")] | UnsetType
    ) = UNSET
