"""How messages name a remedy: as a flag on the command line, as an argument in Python. One switch for all of reading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tastemaker.errors import TastemakerError

if TYPE_CHECKING:
    from tastemaker.data.summary import ReadSummary  # every command reads this file, few read a log

__all__ = ["for_caller", "speaking_of_flags", "speaks_of_flags", "summary_for_caller", "told_to_caller"]

ARGUMENTS: Final = {
    "--user-column": "columns=Columns(user={})",
    "--product-column": "columns=Columns(product={})",
    "--time-column": "columns=Columns(time={})",
    "--quantity-column": "columns=Columns(quantity={})",
    "--header": "reading=Reading(header=True)",
    "--no-header": "reading=Reading(header=False)",
    "--where": "reading=Reading(where=[{}])",
    "--join": "reading=Reading(join=[{}])",
    "--on": "reading=Reading(on={})",
    "--day-first": "reading=Reading(day_first=True)",
    "--month-first": "reading=Reading(day_first=False)",
    "--time-format": "reading=Reading(time_format={})",
    "--time-unit": "reading=Reading(time_unit={})",
    "--keep-null-words": "reading=Reading(keep_null_words=True)",
    "--event-column": "reading=Reading(event_column={})",
    "--event": "reading=Reading(events={{{}}})",
    "--context": "reading=Reading(context=[{}])",
    "--weight-column": "reading=Reading(weight_column={})",
    "--value-column": "reading=Reading(value_column={})",
    "--user-features": "reading=Reading(user_features=[{}])",
    "--product-features": "reading=Reading(product_features=[{}])",
    "--query": "reading=Reading(query={})",
    "--table": "reading=Reading(table={})",
    "--users": "users=…",
    "--products": "products=…",
    "--keep-interrupted": "recovery=Recovery(keep_interrupted=True)",
    "--checkpoint-every": "recovery=Recovery(checkpoints=Checkpoints({}, …))",
    "--resume": "recovery=Recovery(resume={})",
    "--learning-rate": "learning_rate",
    "--preset": "preset={}",
    "--include-purchased": "include_purchased=True",
}
"""The argument that each flag stands for."""

_FLAG: Final = re.compile(r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*)(?: ('[^']*'|\d+(?!\w|,\d)))?")

_flags: ContextVar[bool] = ContextVar("flags", default=False)


@contextmanager
def speaking_of_flags() -> Iterator[None]:
    """Within, messages name flags of the command line; outside they name arguments of Python."""
    token = _flags.set(True)
    try:
        yield
    finally:
        _flags.reset(token)


def speaks_of_flags() -> bool:
    """Return whether messages name flags of the command line."""
    return _flags.get()


def for_caller(text: str) -> str:
    """Return a message that names options as the caller writes them: flags or arguments.

    >>> for_caller("read none with --time-column '', or say --day-first.")
    "read none with columns=Columns(time=''), or say reading=Reading(day_first=True)."
    """
    return text if _flags.get() else _FLAG.sub(_argument, text)


@contextmanager
def told_to_caller() -> Iterator[None]:
    """Raise our errors again with their remedies in the caller's words."""
    try:
        yield
    except TastemakerError as error:
        error.args = tuple(
            for_caller(argument) if isinstance(argument, str) else argument for argument in error.args
        )
        raise


def summary_for_caller(summary: ReadSummary) -> ReadSummary:
    """Return the summary with its warnings in the caller's words."""
    return replace(summary, warnings=tuple(map(for_caller, summary.warnings)))


def _argument(found: re.Match[str]) -> str:
    flag, value = found[1], found[2]
    if flag not in ARGUMENTS:
        return found[0]
    text = ARGUMENTS[flag]
    if "{}" not in text:
        return text.format() + (f" {value}" if value else "")
    if value is not None and not value.startswith("'"):
        value = f"'{value}'"
    return text.format("…" if value is None else value)
