"""`takes_flags`: a command's flags gathered in dataclasses, so that a group is declared once and handed on whole."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

__all__ = ["takes_flags"]


def takes_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of each parameter whose type is a dataclass; the command gets them gathered in that dataclass."""
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups = {
        name: hints[name]
        for name in own.parameters
        if dataclasses.is_dataclass(hints[name]) and isinstance(hints[name], type)
    }
    parameters = [
        flag
        for name, parameter in own.parameters.items()
        for flag in (
            _flags(groups[name], parameter) if name in groups else [parameter.replace(annotation=hints[name])]
        )
    ]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            names = [field.name for field in dataclasses.fields(group)]
            values[name] = group(**{flag: values.pop(flag) for flag in names if flag in values})
        command(**values)

    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {flag.name: flag.annotation for flag in parameters} | {"return": None}
    del run.__wrapped__  # Typer would look through it
    return run


def _flags(group: Any, parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = (
        inspect.Parameter.KEYWORD_ONLY
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        else inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
    for field in dataclasses.fields(group):
        yield inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
