"""A warm start: learning goes on from an older model, on a log that has grown, with the last part of the course alone."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tastemaker.data.tokens.columns import TokenColumns
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.errors import SettingProblem
from tastemaker.model.beside.sums import token_sums
from tastemaker.model.beside.tokens import Tokens
from tastemaker.model.config import Config
from tastemaker.model.taste_model import TasteModel
from tastemaker.types import Booleans, Floats, Rows

__all__ = [
    "KEPT_SQUARES",
    "STANDSTILL",
    "as_before",
    "check_old",
    "first_epoch",
    "kept_length",
    "known_rows",
    "known_tokens",
    "own_vectors_of",
    "warm_settings",
]

LAST_PART = 0.6
"""A warm start runs this share of the epochs: the last ones, in which the learning rate is lower."""

KEPT_SQUARES = 0.25
"""The share assumed of the squares that skipped epochs would have gathered: known products must be free to move, too."""

STANDSTILL = 1e-300
"""A learning rate above 0, as settings require, that is 0 as float32 and so changes nothing."""


def warm_settings(old: TasteModel, changes: Mapping[str, object]) -> Config:
    """Return the settings of an older model, what it chose included, with some replaced; raise `SettingProblem` if it has none.

    A setting replaced by None (``auto`` as text) is chosen again, on the longer log, with the standard effort: another taste could
    not go on from these vectors.
    """
    if old.record.config is None:
        raise SettingProblem("the model to start from is a baseline and was not trained; train without it.")
    return dataclasses.replace(old.record.config, effort="standard").changed(changes)


def as_before(old: TasteModel, config: Config) -> Config:
    """Return settings that leave the objective open with the older model's."""
    before = old.record.config
    return (
        config
        if before is None or config.taste.objective
        else config.changed(objective=before.taste.objective)
    )


def first_epoch(config: Config) -> int:
    """Return the epoch with which a warm start begins.

    >>> from tastemaker.model.config import preset
    >>> first_epoch(preset("workshop"))
    5
    """
    epochs = config.taste.epochs or 1
    return epochs - math.ceil(epochs * LAST_PART) + 1


def check_old(old: TasteModel, config: Config) -> None:
    """Raise `SettingProblem` when the older model's vectors are of another kind than the settings'."""
    before = warm_settings(old, {})
    different = [
        f"{name} {getattr(before.taste, name)} and not {getattr(config.taste, name)}"
        for name in ("query", "objective", "dimensions", "members")
        if getattr(before.taste, name) != getattr(config.taste, name)
    ]
    if different:
        raise SettingProblem(
            f"the model to start from has {', '.join(different)}; leave these settings as they are, "
            "or train without it."
        )


def kept_length(config: Config) -> float:
    """Return the share of their length that vectors keep: (epochs / horizon)², 1 where training was not stopped early."""
    epochs = config.taste.epochs or 1
    return min(1.0, epochs / (config.taste.horizon or epochs)) ** 2


def own_vectors_of(old: TasteModel, products: Rows) -> Floats:
    """Return the vectors of the products at these rows without their attributes', ``float32[n, D]``."""
    vectors, tokens = np.asarray(old.product_vectors[products]), old.tokens
    if tokens is None:
        return vectors
    return vectors - token_sums(tokens.of_products.take(products), np.asarray(tokens.vectors))


def known_tokens(new: Sequence[TokenColumns], old: Tokens) -> tuple[Rows, Rows]:
    """Return the numbers, in both models, of the tokens that stand for the same: of the same role, column and value."""
    here: list[int] = []
    there: list[int] = []
    for part, before in zip(new, (old.context, old.users, old.products), strict=True):
        places = _by_label(before)
        for label, token in _by_label(part).items():
            if label in places:
                here.append(token)
                there.append(places[label])
    return np.array(here, np.int32), np.array(there, np.int32)


def _by_label(columns: TokenColumns) -> dict[str, int]:
    """Return the token of each label that only one token has: what rare values share by a hash has none of its own."""
    tokens = range(columns.first, columns.first + columns.size)
    labels = [columns.label(token) or "" for token in tokens]
    counts = Counter(labels)
    return {label: token for label, token in zip(labels, tokens, strict=True) if counts[label] == 1}


def known_rows(new: Vocabulary, old: Vocabulary) -> tuple[Rows, Rows]:
    """Return the rows, in both vocabularies, of the ids that are in both."""
    found = new.find(old.ids)
    known: Booleans = found.is_not_null().to_numpy()
    return found.drop_nulls().to_numpy().astype(np.int32), np.flatnonzero(known).astype(np.int32)
