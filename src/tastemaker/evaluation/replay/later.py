"""How LATER is read with what a model learned from beside pairs: contexts, and attributes of users whom it does not know."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.catalogues import Catalogue
from tastemaker.data.reading.columns import Columns
from tastemaker.data.reading.given import AnyHeldOut
from tastemaker.data.reading.options import Reading
from tastemaker.data.reading.readers import HeldOut
from tastemaker.data.reading.sources import open_source
from tastemaker.model.taste_model import TasteModel

__all__ = ["missing_in", "reading_of_later"]


def reading_of_later(
    model: TasteModel,
    source: AnyHeldOut,
    *,
    users: Catalogue | None = None,
    columns: Columns = Columns(),  # noqa: B008  (a frozen value)
    reading: Reading = Reading(),  # noqa: B008
) -> Reading:
    """Return how a log is read with the columns of contexts and of users' attributes that the model learned from.

    They are read where the log (or the catalogue of ``users``) has them; what ``reading`` names itself stays as it says. Of
    standard input, which can be read only once, all contexts are expected. Raises what `open_source` raises.
    """
    tokens = model.tokens
    is_read = isinstance(source, Purchases | HeldOut) or hasattr(source, "held_out")
    if is_read or tokens is None:
        return reading
    if _is_stream(source):
        return reading if reading.context else replace(reading, context=tokens.context.names)
    there = set(open_source(source, columns=columns, reading=reading).names)
    if not reading.context:
        reading = replace(reading, context=tuple(name for name in tokens.context.names if name in there))
    if users is not None:
        there |= set(open_source(users).names)
    if reading.user_features == "none":
        described = tuple(name for name in tokens.users.names if name in there)
        reading = replace(reading, user_features=described or "none")
    return reading


def missing_in(model: TasteModel, later: Purchases) -> list[str]:
    """Say which columns the model learned from and LATER does not have: of them, nothing is known."""
    if model.tokens is None:
        return []
    notes = []
    lacking = _lacking(model.tokens.context.names, later.context)
    if lacking:
        notes.append(f"LATER has no context {lacking}, from which the model learned: nothing is known of it.")
    lacking = _lacking(model.tokens.users.names, later.user_features)
    if lacking:
        notes.append(f"LATER does not tell {lacking} of users who are new: nothing is known of it.")
    for part, frame in ((model.tokens.context, later.context), (model.tokens.users, later.user_features)):
        for name, count in part.strange(frame).items():
            notes.append(
                f"{count:,} values of {name} in LATER are none that the model learned from: they say nothing."
            )
    return notes


def _lacking(names: tuple[str, ...], frame: pl.DataFrame | None) -> str:
    return ", ".join(name for name in names if frame is None or name not in frame.columns)


def _is_stream(source: AnyHeldOut) -> bool:
    """Return whether a log can be read only once."""
    parts = source if isinstance(source, list | tuple) else [source]
    return any(str(part) == "-" for part in parts if isinstance(part, str) or hasattr(part, "__fspath__"))
