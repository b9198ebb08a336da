"""How the API answers: JSON with an ETag and the model's version, and ids in their own type."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.serving.front.middleware import header
from tastemaker.serving.models.id_lookup import Ids
from tastemaker.serving.models.loaded_model import LoadedModel

__all__ = ["answered", "etag_of", "row_of"]

_INTEGER = re.compile(r"-?[1-9][0-9]{0,19}|0", re.ASCII)


def answered(
    request: Request, content: Any, loaded: LoadedModel | None = None, status: int = 200
) -> Response:
    """Return the content as JSON; 304 without it where the client has the same already."""
    body = _encoded(content)
    etag = _tag(body).encode()
    headers = [(b"etag", etag), (b"cache-control", b"private, no-cache")]
    if loaded is not None:
        headers.append((b"model-version", loaded.label.encode()))
    known = header(request.scope, b"if-none-match")
    if known is not None and request.method in ("GET", "HEAD"):
        tags = {tag.strip().removeprefix(b"W/") for tag in known.split(b",")}
        if etag in tags or b"*" in tags:
            return _Ready(b"", 304, headers)
    headers += [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    return _Ready(body, status, headers)


class _Ready(Response):
    """A response whose headers are bytes already: the making of others takes a few microseconds."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body, self.status_code, self.raw_headers, self.background = body, status, headers, None


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
