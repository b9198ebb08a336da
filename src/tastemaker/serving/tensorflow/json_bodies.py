"""JSON in and out: bounded when read, quick when written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.responses import Response

from tastemaker.serving.front.problems import Refusal

__all__ = ["check_depth", "json_answer", "parse"]


def parse(body: bytes, depth: int) -> Any:
    """Return what a JSON body says; refuse (400) what is no JSON, or nests deeper than ``depth``."""
    try:
        value = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {str(error)[:200]}") from None
    check_depth(body, value, depth)
    return value


def check_depth(body: bytes, value: Any, depth: int) -> None:
    """Refuse (400) a parsed body that nests deeper than ``depth``."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return
    level: list[Any] = [value]
    for _ in range(depth + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise Refusal(400, f"the JSON nests deeper than {depth} levels.")


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response; NumPy arrays are lists, float32 in their shortest exact spelling."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, headers, "application/json"
    )


def _children(node: Any) -> Iterable[Any]:
    if type(node) is list:
        return node
    return node.values() if type(node) is dict else ()
