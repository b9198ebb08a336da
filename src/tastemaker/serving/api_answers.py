"""How the API answers: JSON with an ETag and the model's version, and ids in their own type."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.serving.ids import Ids
from tastemaker.serving.loaded import Loaded

__all__ = ["answered", "etag_of", "row_of"]

_INTEGER = re.compile(r"-?[1-9][0-9]{0,19}|0", re.ASCII)


def answered(request: Request, content: Any, loaded: Loaded | None = None, status: int = 200) -> Response:
    """Return the content as JSON; 304 without it where the client has the same already."""
    body = _encoded(content)
    etag = _tag(body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if loaded is not None:
        headers["Model-Version"] = loaded.label
    known = request.headers.get("if-none-match")
    if known is not None and request.method in ("GET", "HEAD"):
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        if etag in tags or "*" in tags:
            return Response(None, 304, headers)
    return Response(body, status, headers, "application/json")


def etag_of(content: Any) -> str:
    """Return what names this content: the ETag of the answer that holds it."""
    return _tag(_encoded(content))


def _encoded(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _tag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def row_of(ids: Ids, one: object) -> int | None:
    """Return the row of an id, given as text or as an integer; ``None`` when it is not known."""
    if ids.is_text:
        return ids.row(str(one))
    if isinstance(one, str):
        return ids.row(int(one)) if _INTEGER.fullmatch(one) else None
    return ids.row(one)
