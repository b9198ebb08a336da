"""The operations of the page: the shell at ``/``, its files under a path that names their content, and its own questions."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.exceptions import HTTPException

from tastemaker.serving.operations.operation import Content, Operation
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.serving.pages import questions, shelf

__all__ = ["OPERATIONS", "POLICY"]

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: http: https:",  # pictures are wherever the catalogue says
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""The Content-Security-Policy of the page: files of this server only, nothing inline, and no text that becomes script or markup."""

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HTML = "text/html; charset=utf-8"
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page, as it is sent."""

    content: bytes
    packed: bytes
    """The same, by gzip"""
    kind: str


@dataclass(frozen=True, slots=True)
class _Site:
    """All files of the page."""

    shell: bytes
    etag: str
    mark: str
    """What names the content of all files; part of their path, so that they are kept for ever"""
    files: dict[str, _File]


async def shell(_: RequestInfo) -> Content:
    """Answer ``GET /``."""
    site = _site()
    headers = {
        **HEADERS,
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-cache",
        "ETag": site.etag,
    }
    return Content(site.shell, HTML, 200, headers)


async def icon(_: RequestInfo) -> Content:
    """Answer ``GET /favicon.ico``: browsers ask for it whatever a page says."""
    found = _site().files["icon.svg"]
    return Content(found.content, found.kind, 200, {**HEADERS, "Cache-Control": "public, max-age=86400"})


async def file(request: RequestInfo, mark: str, name: str) -> Content:
    """Answer ``GET /static/MARK/NAME``."""
    site = _site()
    found = site.files.get(name)
    if found is None or mark != site.mark:
        raise HTTPException(404, "there is no such file.")
    headers = {**HEADERS, "Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    content = found.content
    if "gzip" in (request.headers["Accept-Encoding"] or ""):
        headers["Content-Encoding"], content = "gzip", found.packed
    return Content(content, found.kind, 200, headers)


OPERATIONS = (
    Operation("GET", "/", "page", "The page", shell, role="open", media=(HTML,)),
    Operation("GET", "/favicon.ico", "icon", "Its icon", icon, role="open", media=(TYPES["svg"],)),
    Operation(
        "GET", "/static/{mark}/{name}", "file", "Its files", file,
        role="open", headers=("Accept-Encoding",), media=tuple(TYPES.values()),
    ),
    Operation(
        "GET", "/api/page/session", "session", "What the caller may do", questions.session, role="read"
    ),
    Operation(
        "GET", "/api/page/known", "known", "What is understood of visitors", questions.known, role="read"
    ),
    Operation(
        "POST", "/api/page/trial", "trial", "A list under rules on trial", questions.trial,
        role="read", refusals=(404, 413, 415, 422),
    ),
    Operation(
        "GET", "/api/page/browse", "browse", "The catalogue, filtered, sorted, counted, a page at a time",
        shelf.browse, role="read", refusals=(404, 422),
    ),
    Operation(
        "GET", "/api/page/browse.csv", "browse_csv", "The same as a file", shelf.as_csv,
        role="read", refusals=(404, 422), media=(shelf.CSV,),
    ),
    Operation("GET", "/api/page/users", "users", "Some users, or those sought", questions.users, role="read"),
)  # fmt: skip


@cache
def _site() -> _Site:
    """Read every file once; the page needs no disk afterwards."""
    folder = files("tastemaker.serving.pages") / "static"
    contents = {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.rpartition(".")[2] in TYPES
    }
    mark = hashlib.blake2b(
        b"".join(name.encode() + b"\0" + content for name, content in contents.items()), digest_size=8
    ).hexdigest()
    found = {
        name: _File(content, gzip.compress(content, mtime=0), TYPES[name.rpartition(".")[2]])
        for name, content in contents.items()
    }
    modules = "\n".join(
        f'<link rel="modulepreload" href="/static/{mark}/{name}">'
        for name in contents
        if name.endswith(".js")
    )
    text = (folder / "index.html").read_text("utf-8")
    shell = text.replace("<!-- modules -->", modules).replace("{{static}}", f"/static/{mark}").encode()
    return _Site(shell, f'"{hashlib.blake2b(shell, digest_size=12).hexdigest()}"', mark, found)
