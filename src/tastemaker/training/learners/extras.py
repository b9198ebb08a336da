"""What a learned taste is given beside its vectors: age, other events, rates, fold-in, and the tokens themselves."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data.past import Past, past_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.tokens.bags import Bags, side_by_side
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.asking import Asking
from tastemaker.model.beside.known import bought_by, seen_by
from tastemaker.model.beside.live import Live, fold_in_of, rate_bias
from tastemaker.model.beside.order import Fading, Kinds, Order
from tastemaker.model.beside.tokens import Tokens
from tastemaker.model.config import Config
from tastemaker.model.memory import Memory
from tastemaker.training.learners.beside import Beside
from tastemaker.training.learners.learner import Taste
from tastemaker.training.memory.co_occurrence import added
from tastemaker.training.memory.directed import followers
from tastemaker.types import Floats, Rows, Times

__all__ = [
    "askings", "bias_at_end", "fadings", "kinds_of", "kinds_of_past", "known_values", "live_of", "order_of", "own_events",
    "tokens_of",
]  # fmt: skip

SAMPLE = 5_000
"""Purchases whose queries, as they were just before, say how queries are spread."""


def askings(
    users: Rows, times: Times, context: pl.DataFrame | None, past: Past, beside: Beside | None
) -> Asking:
    """Return what was known of users just before these times: purchases, other events, and tokens."""
    held, moments, strengths = bought_by(past, users, times)
    seen = None if past.kinds is None else seen_by(past, users, times)
    tokens: Bags | None = None
    if beside is not None:
        count = len(users)
        own = beside.of_users.take(users)
        tokens = side_by_side([beside.columns[0].encode(context, count), own], count)
    return Asking(held, moments, times, seen, tokens, strengths)


def fadings(config: Config) -> tuple[Fading, Fading]:
    """Return how purchases fade in taste and in memory; what is left to be chosen does not fade."""
    order = config.order
    return (
        Fading(order.taste_places or 0.0, order.taste_days or 0.0, order.taste_strength or 0.0),
        Fading(order.memory_places or 0.0, order.memory_days or 0.0, order.memory_strength or 0.0),
    )


def order_of(config: Config, past: Past | None) -> Order | None:
    """Return how purchases fade; ``None`` where they do not, and nothing else happened."""
    taste, memory = fadings(config)
    if past is None or (taste == memory == Fading() and past.kinds is None):
        return None
    return Order(taste, memory, int(past.times.max(initial=0)))


def kinds_of(config: Config, names: tuple[str, ...], memory: Memory | None = None) -> Kinds | None:
    """Return what events of these kinds say under some settings; ``None`` without kinds."""
    if not names:
        return None
    own, taste = config.kinds.of("own"), config.kinds.of("taste")
    return Kinds(
        names,
        tuple(own.get(name, 0.0) for name in names),
        tuple(taste.get(name, 0.0) for name in names),
        Fading(config.kinds.places or 0.0, config.kinds.days or 0.0),
        memory,
    )


def own_events(products: int) -> Memory:
    """Return the table in which each product says itself."""
    rows = np.arange(products + 1)
    return Memory(rows.astype(np.int64), rows[:-1].astype(np.int32), np.ones(products, np.float32))


def kinds_of_past(past: Past, products: int, config: Config) -> Kinds | None:
    """Return what the other events of a past say, with the table of what is bought after them."""
    own, after = config.kinds.of("own"), config.kinds.of("after")
    parts = []
    for kind, name in enumerate(past.names[1:], start=1):
        settings = config.memory
        later = followers(past, products, kind=kind, fade=settings.directed_fade, partners=settings.partners)
        weighted = [(own.get(name, 0.0), own_events(products)), (after.get(name, 0.0), later)]
        parts.append(added(weighted, products) or Memory.empty(products))
    return kinds_of(config, past.names[1:], Memory.stacked(parts)) if parts else None


def tokens_of(beside: Beside | None, taste: Taste) -> Tokens | None:
    """Return the tokens of a model; ``None`` where nothing stands beside the pairs."""
    if beside is None or taste.tokens is None:
        return None
    return Tokens(*beside.columns, taste.tokens, beside.of_users, beside.of_products)


def live_of(
    log: Purchases, config: Config, taste: Taste, beside: Beside | None, seed: int, pool: ThreadPool
) -> Live | None:
    """Return what moves with every event; ``None`` where the settings keep the learned bias."""
    settings = config.live
    if not settings.rate or log.times is None:
        return None
    fold_in = None
    if settings.fold_in:
        past = past_of(log)
        assert past is not None
        rng = np.random.default_rng([seed, 6])
        places = np.sort(rng.choice(len(log), min(SAMPLE, len(log)), replace=False))
        context = None if log.context is None else log.context[pl.Series(places)]
        asking = askings(log.user_rows[places], log.times[places], context, past, beside)
        queries = asking.vectors(
            taste.vectors,
            damping=config.taste.damping,
            taste=fadings(config)[0],
            kinds=kinds_of(config, past.names[1:]),
            tokens=taste.tokens,
            pool=pool,
        )
        buyers = np.bincount(log.product_rows, minlength=len(log.products)).astype(np.float64)
        fold_in = fold_in_of(queries, taste.vectors, buyers, settings.fold_in)
    dial, young = settings.dial or 0.0, settings.young or 0.0
    return Live(settings.half_life or 30.0, settings.rate, settings.kappa, dial, fold_in, young)


def known_values(log: Purchases) -> Floats | None:
    """Return what a purchase of each product is worth, ``float32[P]``; of products of which nothing is said, the median."""
    values = log.product_values
    if values is None or not np.isfinite(values).any():
        return None
    return np.where(np.isfinite(values), values, np.float32(np.nanmedian(values))).astype(np.float32)


def bias_at_end(live: Live, log: Purchases) -> Floats:
    """Return the bias that the rates make at the end of train, ``float32[P]``."""
    assert log.times is not None
    count = len(log.products)
    end = int(log.times.max())
    row = rate_bias(live, log.product_rows, log.times, end, count)
    sold = np.bincount(log.product_rows, minlength=count) > 0
    row[~sold] += np.float32(live.dial)
    return row
