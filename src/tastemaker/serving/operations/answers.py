"""How answers are sent: structs as JSON with an ETag and the model's version, other content as it is."""

from __future__ import annotations

import hashlib

import msgspec
import orjson
from msgspec import Struct
from starlette.types import Scope, Send

from tastemaker.serving.front.middleware import header
from tastemaker.serving.models.loaded_model import LoadedModel
from tastemaker.serving.operations.operation import Content
from tastemaker.types import Floats

__all__ = ["etag_of", "send_bytes", "send_content", "send_json", "spelled", "tag_of"]

_ENCODER = msgspec.json.Encoder()


async def send_json(answer: Struct, scope: Scope, send: Send) -> None:
    """Send a struct as JSON; 304 without a body where the client already has the same."""
    body = _ENCODER.encode(answer)
    headers = [(b"etag", _tag(body)), (b"cache-control", b"private, no-cache")]
    loaded: LoadedModel | None = scope["state"].get("model")
    if loaded is not None:
        headers.append((b"model-version", loaded.label.encode()))
    await send_bytes(body, b"application/json", 200, headers, scope, send)


async def send_content(answer: Content, scope: Scope, send: Send) -> None:
    """Send content as it is; 304 without it where it has an ETag and the client has the same already."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()
    ]
    await send_bytes(answer.body, answer.media.encode("latin-1"), answer.status, headers, scope, send)


async def send_bytes(
    body: bytes, media: bytes, status: int, headers: list[tuple[bytes, bytes]], scope: Scope, send: Send
) -> None:
    """Send a body; 304 without it where the headers have an ETag and the client has the same already."""
    known = header(scope, b"if-none-match")
    if known is not None and status == 200 and scope["method"] in ("GET", "HEAD") and _has(known, headers):
        status, body = 304, b""
    else:
        headers += [(b"content-length", b"%d" % len(body)), (b"content-type", media)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def tag_of(body: bytes) -> str:
    """Return the ETag of a body."""
    return _tag(body).decode()


def etag_of(answer: Struct) -> str:
    """Return the ETag of the answer that sends this struct."""
    return tag_of(_ENCODER.encode(answer))


def spelled(scores: Floats) -> list[float]:
    """Return ``float32[n]`` as floats that JSON writes in the shortest spelling that is exact for float32.

    >>> import numpy as np
    >>> spelled(np.array([0.1, 2.5], np.float32)), float(np.float32(0.1))
    ([0.1, 2.5], 0.10000000149011612)
    """
    found: list[float] = orjson.loads(orjson.dumps(scores, option=orjson.OPT_SERIALIZE_NUMPY))
    return found


def _tag(body: bytes) -> bytes:
    return b'"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()


def _has(known: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether ``If-None-Match`` names the ETag that these headers give."""
    etag = next((value for name, value in headers if name == b"etag"), None)
    if etag is None:
        return False
    tags = {tag.strip().removeprefix(b"W/") for tag in known.split(b",")}
    return etag in tags or b"*" in tags
