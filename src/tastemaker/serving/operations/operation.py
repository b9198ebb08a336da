"""`Operation`: one method of one path, declared once.

A handler's signature is the declaration of what it takes and gives, so that the type checker holds the handler to it, and
`Endpoint` the requests and answers::

    async def put_rules(request: RequestInfo, query: ModelQuery, body: RulesBody) -> RulesAnswer: ...

``query`` and ``body`` are parsed into the declared struct, or the body into `Lines` of it; every other parameter is a part of the
path. The answer is the declared struct, which becomes JSON, or `Content`, which is sent as it is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct

from tastemaker.serving.front.api_keys import Need
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["LINES", "Content", "Handler", "Lines", "NoParameters", "Operation", "open_paths"]

T = TypeVar("T", bound=Struct)

Handler: TypeAlias = Callable[..., Awaitable[Any]]
METHODS_WITH_BODY = ("POST", "PUT")
LINES = "application/x-ndjson"
"""The media type of JSON lines"""


class NoParameters(Struct, forbid_unknown_fields=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no JSON struct, such as a page, a picture or a log."""

    body: bytes
    media: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lines(Generic[T]):
    """A body of JSON lines, each of which is taken or refused by itself."""

    taken: list[T]
    refused: list[tuple[int, str]]
    """Numbers of lines, from 1, and what is wrong with them"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; the role is required, so that no route is open because a line was forgotten."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    summary: str
    handler: Handler
    _: KW_ONLY
    role: Need
    refusals: tuple[int, ...] = ()
    """Statuses beside those that any request may meet"""
    headers: tuple[str, ...] = ()
    """Names of the request headers that it heeds"""
    media: tuple[str, ...] = ("application/json",)
    """The media types of its answers"""
    query: type[Struct] | None = field(init=False)
    """``None`` takes no parameters: JSON operations refuse them, and pages pass over them"""
    body: type[Struct] | None = field(init=False)
    takes_lines: bool = field(init=False)
    """Whether each line of the body is one of these"""
    answer: type[Struct] | type[Content] = field(init=False)

    def __post_init__(self) -> None:
        """Read the handler's signature; raise `TypeError` where it does not fit the path and the method."""
        hints = get_type_hints(self.handler)
        answer = hints.pop("return", None)
        query, body = hints.pop("query", None), hints.pop("body", None)
        parts = {name for name, kind in hints.items() if kind is not RequestInfo}
        if parts != set(path_parts(self.path)) or any(hints[name] is not str for name in parts):
            raise TypeError(f"the handler of {self.name} takes {sorted(parts)}, and its path is {self.path}")
        if (body is not None) != (self.method in METHODS_WITH_BODY):
            raise TypeError(
                f"{self.name} is a {self.method}; a handler takes a body with {METHODS_WITH_BODY} only"
            )
        if not (isinstance(answer, type) and issubclass(answer, Struct | Content)):
            raise TypeError(f"the handler of {self.name} must declare what it answers, not {answer!r}")
        takes_lines = get_origin(body) is Lines
        object.__setattr__(self, "query", query)
        object.__setattr__(self, "body", get_args(body)[0] if takes_lines else body)
        object.__setattr__(self, "takes_lines", takes_lines)
        object.__setattr__(self, "answer", answer)


def path_parts(path: str) -> list[str]:
    """Return the names of the parts of a path that vary."""
    return re.findall(r"{(\w+)", path)


def open_paths(operations: Iterable[Operation]) -> Callable[[str], bool]:
    """Return a function that says whether a path needs no key, as the operations declare it."""
    opened = [operation.path for operation in operations if operation.role == "open"]
    whole = frozenset(path for path in opened if "{" not in path)
    beginnings = tuple(path.partition("{")[0] for path in opened if "{" in path)
    return lambda path: path in whole or path.startswith(beginnings)
