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
    "--user-column": "user_column={}",
    "--product-column": "product_column={}",
    "--time-column": "time_column={}",
    "--quantity-column": "quantity_column={}",
    "--header": "header=True",
    "--no-header": "header=False",
    "--where": "where=[{}]",
    "--join": "join=[{}]",
    "--on": "on={}",
    "--day-first": "day_first=True",
    "--month-first": "day_first=False",
    "--time-format": "time_format={}",
    "--time-unit": "time_unit={}",
    "--keep-null-words": "keep_null_words=True",
    "--event-column": "event_column={}",
    "--event": "events={{{}}}",
    "--context": "context=[{}]",
    "--weight-column": "weight_column={}",
    "--value-column": "value_column={}",
    "--user-features": "user_features=[{}]",
    "--product-features": "product_features=[{}]",
    "--query": "query={}",
    "--table": "table={}",
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
    "read none with time_column='', or say day_first=True."
    >>> for_caller("read purchases with --event 'purchase=bought'.")
    "read purchases with events={'purchase': 'bought'}."
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
    if flag == "--event" and value and "=" in value:
        kind, _, words = value.strip("'").partition("=")
        return f"events={{{kind!r}: {words!r}}}"
    if "{}" not in text:
        return text.format() + (f" {value}" if value else "")
    if value is not None and not value.startswith("'"):
        value = f"'{value}'"
    return text.format("…" if value is None else value)
