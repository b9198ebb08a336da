"""`without_users`: a model as if some users had never been counted; what was learned by gradients stays until the next training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tastemaker.data.past import Past
from tastemaker.data.purchases import Histories
from tastemaker.data.ragged import gather_lists
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.live import Live, rate_bias
from tastemaker.model.taste_model import Memory, TasteModel
from tastemaker.training.learners.extras import kinds_of_past
from tastemaker.training.memory.co_occurrence import count_memory
from tastemaker.training.memory.remember import remember
from tastemaker.types import AnyArray, Floats

__all__ = ["FORGOTTEN", "without_users"]

FORGOTTEN = "forgotten"
"""Where the record of a model counts the users who were taken out of it"""


def without_users(model: TasteModel, rows: AnyArray, *, threads: int | None = None) -> TasteModel:
    """Return a model without the users at these rows, ``int[n]``: ids, histories, pasts, own vectors and attributes.

    The tables of the memory are counted anew without them, so that they are those of a log that never held them, to the byte; the
    rates behind the bias, too. Vectors of products, and the weights that training chose, stay as they were learned; so does the
    memory of a baseline other than `co_purchase`.
    """
    kept = np.setdiff1d(np.arange(len(model.users)), rows)
    offsets, places = gather_lists(model.histories.offsets, kept)
    histories = Histories(offsets, np.asarray(model.histories.products)[places])
    times = None if model.history_times is None else np.asarray(model.history_times)[places]
    past = None if model.past is None else _past_of(model.past, kept)
    users, record = model.users, model.record
    changes: dict[str, Any] = {
        "users": Vocabulary(users.ids.gather(kept), users.noun, users.form, users.is_sorted),
        "histories": histories,
        "history_times": times,
        "past": past,
        "record": replace(
            record,
            purchases=record.purchases - _purchases(model) + _purchases_of(histories, times, past),
            metrics={**record.metrics, FORGOTTEN: record.metrics.get(FORGOTTEN, 0) + len(rows)},
        ),
    }
    if model.user_vectors is not None:
        changes["user_vectors"] = np.ascontiguousarray(np.asarray(model.user_vectors)[kept])
    if model.tokens is not None:
        changes["tokens"] = replace(model.tokens, of_users=model.tokens.of_users.take(kept))
    if model.memory is not None:
        with ThreadPool(threads) as pool:
            changes["memory"] = _memory(model, histories, past, pool)
    if model.kinds is not None and past is not None and record.config is not None:
        changes["kinds"] = kinds_of_past(past, len(model.products), record.config)
    if model.live is not None and model.past is not None and past is not None:
        changes["product_bias"] = _bias(model, model.live, model.past, past)
    return replace(model, **changes)


def _past_of(past: Past, kept: AnyArray) -> Past:
    offsets, places = gather_lists(past.offsets, kept)
    kinds = None if past.kinds is None else np.asarray(past.kinds)[places]
    strengths = None if past.strengths is None else np.asarray(past.strengths)[places]
    return Past(
        offsets,
        np.asarray(past.products)[places],
        np.asarray(past.times)[places],
        kinds,
        past.names,
        strengths,
    )


def _purchases(model: TasteModel) -> int:
    return _purchases_of(model.histories, model.history_times, model.past)


def _purchases_of(histories: Histories, times: AnyArray | None, past: Past | None) -> int:
    if past is not None:
        return int((past.kinds_of() == 0).sum())
    return len(histories.products) if times is None else int(times.sum())


def _memory(model: TasteModel, histories: Histories, past: Past | None, pool: ThreadPool) -> Memory | None:
    record, count = model.record, len(model.products)
    if record.config is not None:
        return remember(histories, model.products, record.config.memory, pool, past=past)
    if record.metrics.get("baseline") == "co_purchase":
        how: dict[str, Any] = {name: record.metrics[name] for name in ("power", "damping", "partners")}
        return count_memory(histories, count, pool=pool, **how)
    return model.memory


def _bias(model: TasteModel, live: Live, before: Past, past: Past) -> Floats:
    """Return the bias of the rates that are left, where the model's own is the one that its past makes."""

    def made_of(events: Past) -> Floats:
        bought = events.kinds_of() == 0
        rows, times = np.asarray(events.products)[bought], np.asarray(events.times)[bought]
        count = len(model.products)
        row = rate_bias(live, rows, times, int(times.max(initial=0)), count)
        row[np.bincount(rows, minlength=count) == 0] += np.float32(live.dial)
        return row

    is_plain = np.allclose(made_of(before), model.product_bias, rtol=1e-4, atol=1e-4)
    return made_of(past) if is_plain else model.product_bias
