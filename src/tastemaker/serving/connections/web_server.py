"""The web server around the application: connections that are limited, and that end without a lost request."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tastemaker.serving.connections.descriptors import affordable_connections
from tastemaker.serving.connections.door import Door
from tastemaker.serving.front.problems import Refusal, refuse
from tastemaker.serving.front.proxies import trusts
from tastemaker.serving.front.settings import Settings

__all__ = ["WebServer"]

log = logging.getLogger("tastemaker.connections")

PROBES = frozenset({"/livez", "/readyz"})
"""Paths that are answered however many connections there are"""

GRACE_SECONDS = 2.0
"""So long a connection without a request is kept at the end: what it has sent may be on its way"""

CLOSE = (b"connection", b"close")


class WebServer(uvicorn.Server):
    """Serves an application until a signal; then answers what was asked, and ends."""

    def __init__(self, app: ASGIApp, settings: Settings, tell: Callable[[], None]) -> None:
        """``tell`` is called once connections are accepted."""
        self.door = Door(
            affordable_connections(settings.connections),
            settings.address_connections,
            unlimited=trusts(settings.trusted_proxies),
        )
        self.cut_off = 0
        """Requests that were not answered when the time to drain was over"""
        self.ending = False
        self._settings, self._tell = settings, tell
        config = uvicorn.Config(
            app,
            http=H11Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(3)
        self.servers = []
        assert sockets is not None
        self.door.open(sockets[0], lambda: Connection(self, self._settings, self.config, self.lifespan.state))
        self.started = True
        self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting; answer what is in flight, in the socket's queue and on its way; then end the application."""
        self.ending = True
        self.door.close(alone=self._settings.workers == 1)
        await self.door.all_came()
        last = time.monotonic() + self._settings.drain_seconds
        quiet = time.monotonic() + min(GRACE_SECONDS, self._settings.drain_seconds)
        while self.server_state.connections and time.monotonic() < last and not self.force_exit:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                assert isinstance(connection, Connection)
                if connection.is_idle() and now > max(quiet, connection.active_at + GRACE_SECONDS / 2):
                    connection.shutdown()
            await asyncio.sleep(0.02)
        running = [task for task in self.server_state.tasks if not task.done()]
        self.cut_off = len(running)
        if running:
            log.error("%d requests were cut off after %g seconds", len(running), self._settings.drain_seconds)
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=GRACE_SECONDS)  # each is told, logged and counted
        if not self.force_exit:
            await self.lifespan.shutdown()
        for lingering in list(self.server_state.connections):
            assert isinstance(lingering, Connection)
            lingering.end()
        await asyncio.sleep(0)  # in which the event loop closes them


class Connection(H11Protocol):
    """One connection: patient for so long, told to the door, and closed so that its last answer arrives."""

    def __init__(
        self, server: WebServer, settings: Settings, config: uvicorn.Config, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server.server_state, app_state)
        self._server, self._door = server, server.door
        self._application, self.app = self.app, self._answer
        self._patience = settings.body_seconds
        self._end: asyncio.TimerHandle | None = None
        self._lingers = False
        self.address = ""
        self.surplus = False
        self.active_at = time.monotonic()

    # What the door asks

    def is_idle(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def has_asked(self) -> bool:
        """Return whether a request came at all."""
        return self.cycle is not None

    def end(self) -> None:
        """Close the connection now."""
        self._stop_waiting()
        self._socket.close()

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self._outlet = _Outlet(self, transport)
        super().connection_made(self._outlet)  # type: ignore[arg-type]
        self.address = self.client[0] if self.client else ""
        self._door.comes(self)
        self._end = self.loop.call_later(self._patience, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take what was sent; nothing after the last answer."""
        if self._lingers:
            return
        self.active_at = time.monotonic()
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
            self._door.asks(self)
        elif self._end is None and self.is_idle() and not self._lingers:
            self._end = self.loop.call_later(self._patience, self._give_up)

    def on_response_complete(self) -> None:
        """Go on with the next request, or rest."""
        super().on_response_complete()
        self.active_at = time.monotonic()
        if self.is_idle():
            self._door.rests(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self._lingers = True
        self._door.goes(self)
        super().connection_lost(exc)

    def linger(self) -> None:
        """Close so that the last answer arrives: what is still being sent is read on, else the kernel would reset it."""
        if self._lingers:
            return
        self._stop_waiting()
        if not self._may_be_sending():
            self._socket.close()
            return
        self._lingers = True
        self.flow.resume_reading()
        try:
            self._socket.write_eof()
        except OSError:  # the client has gone
            self._socket.abort()
            return
        self._end = self.loop.call_later(self._patience, self._socket.close)

    @property
    def lingers(self) -> bool:
        """Return whether the last answer was given."""
        return self._lingers

    def _may_be_sending(self) -> bool:
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR) or bool(self.conn.trailing_data[0])

    def _stop_waiting(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _give_up(self) -> None:
        self._end = None
        if self.is_idle():
            self._socket.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 503 over the limit, and without a promise of further answers at the end."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._outlet.hold()
                if self._server.ending or self.surplus:
                    others = [one for one in message.get("headers", ()) if one[0].lower() != CLOSE[0]]
                    message["headers"] = [*others, CLOSE]
            await send(message)

        if self.surplus and scope["path"] not in PROBES:
            refusal = Refusal(503, "too many connections; try again.", headers={"Retry-After": "1"})
            await refuse(scope["path"], refusal)(scope, receive, send_last)
            return
        await self._application(scope, receive, send_last)


class _Outlet:
    """The transport as the protocol writes to it: an answer's head goes out with its body, and the connection closes.

    Each write is a call of the system, a packet, and a client that is woken.
    """

    __slots__ = ("_connection", "_head", "_holds", "_transport")

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection, self._transport = connection, transport
        self._holds, self._head = False, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold(self) -> None:
        """Keep what is written next, the head of an answer, until more is written."""
        self._holds = True

    def write(self, data: bytes) -> None:
        """Write, unless this is a head."""
        if self._holds:
            self._holds, self._head = False, data
        elif self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write what is kept, and let the connection close."""
        if self._head:
            self.write(b"")
        self._connection.linger()

    def is_closing(self) -> bool:
        """Return whether nothing more is taken."""
        return self._connection.lingers or self._transport.is_closing()
