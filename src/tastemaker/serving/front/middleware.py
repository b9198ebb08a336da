"""`RequestMiddleware`: what every request passes: an id, keys, rates, limits of size and time, the log and the counters."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tastemaker.serving.front.api_keys import MAY, Key, Keys, Need, Role
from tastemaker.serving.front.hosts import answers_to
from tastemaker.serving.front.logs import now_said, write_line
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.problems import Refusal, refusal_of, refuse
from tastemaker.serving.front.proxies import client_of, trusts
from tastemaker.serving.front.rate_limit import RateLimits
from tastemaker.serving.front.settings import Settings

__all__ = ["RequestMiddleware", "check_role", "header"]

log = logging.getLogger("tastemaker.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")


def check_role(role: Role | None, need: Need) -> None:
    """Refuse (403) a caller whose key does not allow what an operation needs, and (401) one without the key it needs."""
    if need == "open" or (role is not None and need in MAY[role]):
        return
    if role is None:
        raise _no_key()
    a = "an" if need[0] in "ae" else "a"
    raise Refusal(403, f"this needs {a} {need} key; the server takes keys when started with --keys FILE.")


def _no_key(over: Key | None = None) -> Refusal:
    said = "a valid API key is needed: send it as 'Authorization: Bearer KEY'."
    if over is not None:
        said = f"the key {over.name} ended on {over.expires}; ask for a new one."
    return Refusal(401, said, headers={"WWW-Authenticate": "Bearer"})


def _ending() -> Refusal:
    return Refusal(
        503,
        "the server is ending, and this was not answered in time; it may have been done all the same.",
        headers={"Retry-After": "1"},
    )


class RequestMiddleware:
    """The one middleware, in plain ASGI, since each request pays for it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        metrics: Metrics,
        keys: Callable[[], Keys | None],
        is_open: Callable[[str], bool],
    ) -> None:
        """``is_open`` says which paths need no key; every other one does, whether there is a route or not."""
        self._app, self._settings, self._metrics = app, settings, metrics
        self._keys, self._is_open = keys, is_open
        self._is_named = answers_to(settings)
        self._trusted = trusts(settings.trusted_proxies)
        self._rates = RateLimits(settings.requests_per_second, settings.burst)
        self._prefix, self._numbers = secrets.token_hex(5), itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; log and count it either way."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        visit = _Visit(scope, send, self._request_id(scope), self._client(scope))
        try:
            await self._serve(scope, receive, visit)
        except asyncio.CancelledError:
            # the server ends, and the time that it gives to running requests is over
            visit.is_cut_off = True
            await self._answer_error(scope, receive, visit, _ending())
        except Exception as error:
            await self._answer_error(scope, receive, visit, error)
        finally:
            self._note(scope, visit, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        self._admit(scope, visit)
        body = await self._body(scope, receive)
        if body is None:
            visit.status = 499  # the client went away
            return
        async with asyncio.timeout(self._settings.seconds):
            await self._app(scope, _replayed(body, receive), visit.send)

    def _admit(self, scope: Scope, visit: _Visit) -> None:
        if header(scope, b"transfer-encoding") is not None and header(scope, b"content-length") is not None:
            # where two of the way see two lengths, one's body is the other's next request
            raise Refusal(
                400,
                "Content-Length and Transfer-Encoding exclude each other.",
                headers={"Connection": "close"},
            )
        keys = self._keys()
        key: Key | None = None
        over: Key | None = None
        if keys is not None:
            presented = _presented(scope)
            key = visit.key = keys.find(presented) if presented is not None else None
            if key is not None and key.is_over():
                key, over = None, key
        wait = self._rates.wait(key.name if key else visit.client, time.monotonic())
        if wait:
            raise Refusal(429, "too many requests; wait a moment.", headers={"Retry-After": str(wait)})
        self._check_host(scope)
        if keys is not None and key is None and not self._is_open(scope["path"]):
            raise _no_key(over)
        role: Role | None = key.role if key else "read" if keys is None else None
        scope["state"]["role"] = role
        scope["state"]["key"] = key.name if key else None

    def _check_host(self, scope: Scope) -> None:
        """Refuse (421) a request that was meant for another name: a page may let its own name resolve to this machine."""
        host = None if self._is_named is None else header(scope, b"host")
        if host is not None and self._is_named is not None and not self._is_named(host):
            name = host.decode("latin-1")[:100]
            raise Refusal(
                421,
                f"this server does not answer to the name {name!r}; start it with --allowed-host NAME, or with keys.",
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, ``None`` if the client went away; refuse one that is too long or too slow."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return b""
        most = self._settings.body_bytes
        announced = header(scope, b"content-length")
        too_long = Refusal(
            413, f"the body is longer than {most:,} bytes.", headers={"Connection": "close"}, limit=most
        )
        if announced is not None and announced.isdigit() and int(announced[:20]) > most:
            raise too_long
        parts: list[bytes] = []
        length = 0
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    length += len(parts[-1])
                    if length > most:
                        raise too_long
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time.", headers={"Connection": "close"}) from None

    async def _answer_error(self, scope: Scope, receive: Receive, visit: _Visit, error: Exception) -> None:
        refusal = refusal_of(error)
        if isinstance(error, TimeoutError):
            refusal = Refusal(504, f"no answer within {self._settings.seconds:g} seconds.")
        if refusal is None:
            log.error(
                "a request failed",
                exc_info=error,
                extra={"facts": {"request_id": visit.request_id, "path": scope["path"][:200]}},
            )
            refusal = Refusal(
                500, "the server made a mistake; its log has the details under this request id."
            )
        if visit.began:
            visit.status = 500
            return
        answer = refuse(scope["path"], refusal)
        await answer(scope, receive, visit.send)

    def _client(self, scope: Scope) -> str:
        """Return who asks: the connection's address, or the one that a trusted proxy names."""
        peer = scope.get("client")
        if not peer or not self._trusted(peer[0]):
            return peer[0] if peer else ""
        return client_of(
            peer[0], [value for name, value in scope["headers"] if name == b"x-forwarded-for"], self._trusted
        )

    def _request_id(self, scope: Scope) -> str:
        given = header(scope, b"x-request-id")
        if given is not None:
            text = given.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
        return f"{self._prefix}-{os.getpid():x}-{next(self._numbers):x}"

    def _note(self, scope: Scope, visit: _Visit, seconds: float) -> None:
        state: dict[str, Any] = scope["state"]
        loaded = state.pop("model", None)  # what still holds the request no longer holds the version
        model, version = (loaded.name, str(loaded.version)) if loaded is not None else ("", "")
        route = state.get("route") or _route(scope)
        self._metrics.request(route, visit.status, seconds, model, version)
        if visit.is_cut_off:
            self._metrics.cut_off(route)
        if not self._settings.log_requests and visit.status < 500:
            return
        write_line(
            {
                "time": now_said(),
                "level": "info" if visit.status < 500 else "error",
                "message": "request",
                "request_id": visit.request_id,
                "method": scope["method"],
                "path": scope["path"][:200],
                "route": route,
                "status": visit.status,
                "ms": round(seconds * 1000, 3),
                "client": visit.client,
                "key": visit.key.name if visit.key else None,
                "model": model or None,
                "version": loaded.version if loaded is not None else None,
                **({"cut_off": True} if visit.is_cut_off else {}),
            }
        )


class _Visit:
    """One request on its way through the middleware."""

    __slots__ = ("_header", "_send", "began", "client", "is_cut_off", "key", "request_id", "status")

    def __init__(self, scope: Scope, send: Send, request_id: str, client: str) -> None:
        self.client = client
        self.key: Key | None = None
        self.request_id = request_id
        self.status = 500
        self.began = self.is_cut_off = False
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        scope.setdefault("state", {})["request_id"] = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self._header]
        await self._send(message)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _presented(scope: Scope) -> str | None:
    authorization = header(scope, b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip().decode("latin-1")
    key = header(scope, b"x-api-key")
    return None if key is None else key.strip().decode("latin-1")


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this name, in lower case; ``None`` where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def _route(scope: Scope) -> str:
    """Return the template of the route, never the path: the number of labels must stay small."""
    route = scope.get("route")
    return getattr(route, "path", None) or "unmatched"
