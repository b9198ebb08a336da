"""Why a product is recommended: what each purchase says for it, taste and memory apart, so that all adds up to the score."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import find_sorted, offsets_of
from tastemaker.kernels.ranking.pairs import count_common
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.order import STEADY
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.ranking.queries import buyers_for_nobody, repeat_scores
from tastemaker.types import AnyArray, Counts, Doubles, Floats, Offsets, Rows

__all__ = [
    "Buyers",
    "Fact",
    "Reason",
    "ScoreParts",
    "Spoken",
    "own_vector",
    "parts_of",
    "reasons_for",
    "spoken_for",
]

MOST = 3
"""How many purchases are named as reasons for a product; the rest is summed up."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreParts:
    """What the scores of K products for one query are made of, each part ``float64``.

    score[j] = own_taste[j] + Σ_i taste[i, j] + Σ_i memory[i, j] + popularity[j] + repeat[j]

    up to the rounding of float32 sums: the difference is at most 1e-5 of the sum of the absolute values, times √(D + n).
    """

    basket: Rows
    """``int32[n]``, the purchases that speak"""
    products: Rows
    """``int32[K]``, what they speak for"""
    taste: Doubles
    """``float64[n, K]``; zeros where a user has a vector of their own"""
    memory: Doubles
    """``float64[n, K]``"""
    own_taste: Doubles
    """``float64[K]``, of a user's own vector; zeros where the query is composed"""
    popularity: Doubles
    """``float64[K]``: the bias, in which the trend is contained; buyers, for a query without purchases of a model without bias"""
    repeat: Doubles
    """``float64[K]``: for having been bought before, in lists where that may come again"""
    facts: tuple[tuple[str, int | None], ...] | None = None
    """What else is known, F of it: an attribute or a context in words, or a kind of event and the row of its product"""
    facts_say: Doubles | None = None
    """``float64[F, K]``"""

    def total(self) -> Doubles:
        """Return the sum of all parts, ``float64[K]``."""
        total: Doubles = (
            self.own_taste + self.taste.sum(axis=0) + self.memory.sum(axis=0) + self.popularity + self.repeat
        )
        return total if self.facts_say is None else total + self.facts_say.sum(axis=0)


@dataclass(frozen=True, slots=True)
class Fact:
    """What one thing known beside purchases says for one product."""

    name: str
    """An attribute or a context in words, or the kind of an event"""
    row: int | None
    """The row of the event's product"""
    weight: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one purchase says for one product."""

    row: int
    """The row of the purchased product"""
    taste: float
    memory: float
    together: int
    """How many users bought both"""

    @property
    def weight(self) -> float:
        """Return taste and memory together."""
        return self.taste + self.memory


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one product is in a list: what its score is made of."""

    popularity: float
    taste: float
    """Of a user with a vector of their own"""
    repeat: float
    """For having been bought before"""
    purchases: tuple[Spoken, ...]
    """The purchases that say most for it, strongest first"""
    others_taste: float
    """Of all other purchases together"""
    others_memory: float
    facts: tuple[Fact, ...] | None = None
    """What is known beside purchases that says most for it; ``None`` for a model that knows nothing but purchases"""
    others_facts: float = 0.0
    """Of all else that is known beside purchases"""
    rules: float = 0.0
    """What boosts and burials of the rules add"""

    @property
    def total(self) -> float:
        """Return the sum of all parts: the score."""
        rest = self.popularity + self.taste + self.repeat + self.others_taste + self.others_memory
        known = sum(fact.weight for fact in self.facts or ()) + self.others_facts
        return rest + known + self.rules + sum(purchase.weight for purchase in self.purchases)


class Buyers:
    """Who bought each product: the histories turned around. Built once for a model; counts common buyers."""

    def __init__(self, model: TasteModel) -> None:
        products = np.asarray(model.histories.products)
        self._users: AnyArray = model.histories.owners()[np.argsort(products, kind="stable")].astype(np.int32)
        self._offsets: Offsets = offsets_of(np.bincount(products, minlength=len(model.products)))

    def of(self, product: int) -> AnyArray:
        """Return the rows of the users who bought the product at this row, ascending."""
        return self._users[self._offsets[product] : self._offsets[product + 1]]

    def together(self, firsts: Rows, seconds: Rows) -> Counts:
        """Return how many users bought both products of each pair of rows, ``int32[n]``."""
        counts = np.empty(len(firsts), np.int32)
        count_common(firsts, seconds, self._offsets, self._users, counts)
        return counts


def parts_of(
    model: TasteModel,
    basket: Rows,
    products: Rows,
    *,
    user: int | None = None,
    times: Counts | None = None,
    include_purchased: bool = False,
    asking: Asking | None = None,
) -> ScoreParts:
    """Part the scores of the products at these rows, ``int32[K]``, for the query of a basket of distinct rows, ``int32[n]``.

    taste[i, j] = n^-damping · basket_vectors[i] · product_vectors[j],  memory[i, j] = n^-memory_damping · memory[i, j]

    ``user`` is the row of a user whose basket it is: where users have vectors of their own, theirs speaks in place of the
    purchases. ``times``, ``int32[n]``, says how often each was bought. ``asking`` is all that is known of the one who asks, for a
    model that knows age, other events, attributes or contexts: n^-damping is then multiplied by the weight of each purchase's age.
    """
    if not model.is_plain:
        asking = Asking(Histories.from_lists([basket])) if asking is None else asking
        repeat = _repeat(model, basket, products, times) if include_purchased else np.zeros(len(products))
        return _parts_beside(model, asking, products, repeat)
    count, width = len(basket), len(products)
    vectors = np.asarray(model.product_vectors[products], np.float64)
    taste, own = np.zeros((count, width)), np.zeros(width)
    learned = own_vector(model, user) if count else None
    if learned is not None:
        own = vectors @ np.asarray(learned, np.float64)
    elif count:
        table, damping = model.basket_table()
        taste = np.asarray(table[basket], np.float64) @ vectors.T * float(count) ** -damping
    memory = np.zeros((count, width))
    if count and model.memory is not None:
        memory = _remembered(model.memory, basket, products) * float(count) ** -model.memory_damping
    return ScoreParts(
        np.asarray(basket, np.int32), np.asarray(products, np.int32), taste, memory, own,
        _popularity(model, products, empty=not count),
        _repeat(model, basket, products, times) if include_purchased else np.zeros(width),
    )  # fmt: skip


def _parts_beside(model: TasteModel, asking: Asking, products: Rows, repeat: Doubles) -> ScoreParts:
    """Split the scores of one query into reasons; more may be known of the visitor than purchases."""
    basket, order, width = asking.held.products, model.order, len(products)
    vectors = np.asarray(model.product_vectors[products], np.float64)
    table, damping = model.basket_table()
    shares = asking.weights(STEADY if order is None else order.taste, damping).astype(np.float64)
    taste = np.asarray(table[basket], np.float64) @ vectors.T * shares[:, None]
    memory = np.zeros((len(basket), width))
    if len(basket) and model.memory is not None:
        weights = asking.weights(STEADY if order is None else order.memory, model.memory_damping)
        memory = _remembered(model.memory, basket, products) * weights.astype(np.float64)[:, None]
    facts: list[tuple[str, int | None]] = []
    say = [np.zeros((0, width))]
    if asking.tokens is not None and model.tokens is not None:
        tokens, bags = model.tokens, asking.tokens
        facts += [(tokens.label(token), None) for token in bags.tokens.tolist()]
        own = np.asarray(tokens.vectors[bags.tokens], np.float64) * bags.weights[:, None]
        say.append(own @ vectors.T)
    if asking.seen is not None and model.kinds is not None:
        seen, kinds = asking.seen, model.kinds
        facts += [
            (kinds.names[kind], row)
            for kind, row in zip(seen.kinds.tolist(), seen.products.tolist(), strict=True)
        ]
        faded = asking.seen_weights(kinds.fading).astype(np.float64)[:, None]
        own = np.asarray(table[seen.products], np.float64) * np.array(kinds.taste)[seen.kinds][:, None]
        said = own @ vectors.T
        if kinds.memory is not None:
            rows = seen.kinds.astype(np.int64) * len(model.products) + seen.products
            said += _remembered(kinds.memory, rows, products)
        say.append(said * faded)
    return ScoreParts(
        np.asarray(basket, np.int32), np.asarray(products, np.int32), taste, memory, np.zeros(width),
        _popularity(model, products, empty=bool(asking.says_nothing()[0])), repeat,
        tuple(facts), np.concatenate(say),
    )  # fmt: skip


def own_vector(model: TasteModel, user: int | None) -> Floats | None:
    """Return the vector of the user at this row, ``float32[D]``; ``None`` where users are composed, or theirs was never learned."""
    if model.user_vectors is None or user is None:
        return None
    offsets = model.histories.offsets
    return model.user_vectors[user] if offsets[user] < offsets[user + 1] else None


def spoken_for(parts: ScoreParts, buyers: Buyers, *, most: int = MOST) -> list[tuple[Spoken, ...]]:
    """Return for each product the purchases that say most for it, strongest first; only what speaks for it."""
    weights = parts.taste + parts.memory
    places = np.argsort(-weights, axis=0, kind="stable")[
        :most
    ].T  # [K, most]: all that follows is product by product
    products = np.broadcast_to(np.arange(len(parts.products))[:, None], places.shape)
    speaks = weights[places, products] > 0
    places, products = places[speaks], products[speaks]
    rows = parts.basket[places]
    spoken = map(
        Spoken,
        rows.tolist(),
        parts.taste[places, products].tolist(),
        parts.memory[places, products].tolist(),
        buyers.together(rows, parts.products[products]).tolist(),
    )
    return [tuple(islice(spoken, count)) for count in speaks.sum(axis=1).tolist()]


def reasons_for(
    model: TasteModel,
    held: Rows,
    products: Rows,
    buyers: Buyers,
    *,
    user: int | None = None,
    times: Counts | None = None,
    include_purchased: bool = False,
    asking: Asking | None = None,
) -> tuple[Reason, ...]:
    """Return why each of the products at these rows is listed for a visitor who holds ``held``, in the order of ``products``.

    ``buyers`` counts how many users bought both; the other arguments are those of `parts_of`.
    """
    parts = parts_of(
        model, held, products, user=user, times=times, include_purchased=include_purchased, asking=asking
    )
    whole = [np.ascontiguousarray(part.T).sum(axis=1).tolist() for part in (parts.taste, parts.memory)]
    facts = [_facts_for(parts, place) for place in range(len(products))]
    return tuple(
        Reason(
            popularity, own_taste, repeat, spoken,
            taste - sum(purchase.taste for purchase in spoken),
            memory - sum(purchase.memory for purchase in spoken),
            *said,
        )
        for popularity, own_taste, repeat, spoken, said, taste, memory in zip(
            parts.popularity.tolist(), parts.own_taste.tolist(), parts.repeat.tolist(),
            spoken_for(parts, buyers), facts, *whole, strict=True,
        )
    )  # fmt: skip


def _facts_for(parts: ScoreParts, place: int) -> tuple[tuple[Fact, ...] | None, float]:
    """Return what is known beside purchases that says most for a product, strongest first, and what the rest of it says."""
    if parts.facts is None or parts.facts_say is None:
        return None, 0.0
    weights = parts.facts_say[:, place]
    order = [i for i in np.argsort(-weights, kind="stable")[:MOST].tolist() if weights[i] > 0]
    named = tuple(Fact(parts.facts[i][0], parts.facts[i][1], float(weights[i])) for i in order)
    return named, float(weights.sum()) - sum(fact.weight for fact in named)


def _remembered(memory: Memory, basket: AnyArray, products: Rows) -> Doubles:
    """Return the memory's entries, ``float64[n, K]``; zero where it has none."""
    answer = np.zeros((len(basket), len(products)))
    for i, row in enumerate(basket.tolist()):
        known = memory.products[memory.offsets[row] : memory.offsets[row + 1]]
        places, there = find_sorted(known, products)
        answer[i, there] = memory.weights[memory.offsets[row] + places[there]]
    return answer


def _popularity(model: TasteModel, products: Rows, *, empty: bool) -> Doubles:
    bias = np.asarray(model.product_bias[products], np.float64)
    buyers = buyers_for_nobody(model) if empty else None
    return bias if buyers is None else bias + buyers[products]


def _repeat(model: TasteModel, basket: Rows, products: Rows, times: Counts | None) -> Doubles:
    answer = np.zeros(len(products))
    own = repeat_scores(model, Histories.from_lists([basket]), times)
    if own is not None and len(basket):
        places, there = find_sorted(own.rows, products)
        answer[there] = own.scores[places[there]]
    return answer
