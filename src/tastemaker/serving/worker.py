"""One process that answers: the models, the application and the web server around them."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from tastemaker.errors import ServerProblem
from tastemaker.serving.app import create_app, registry_of
from tastemaker.serving.front.settings import Settings

__all__ = ["work"]

SWITCH_SECONDS = 0.001
"""How long the event loop may keep Python's lock while a ranking thread wants it (Python's own value is five times that)."""


def work(settings: Settings, listener: socket.socket, tell: Callable[[list[str]], None]) -> None:
    """Load the models, report what is served once requests are answered, and serve until a signal; raise `ServerProblem`."""
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    registry = registry_of(settings)
    app = create_app(settings, registry=registry)
    registry.look()
    served = [f"{name}/{version}" for name, model in registry.models.items() for version in model.ready]
    if not served:
        reasons = "; ".join(reason for model in registry.models.values() for reason in model.refused.values())
        raise ServerProblem(f"no model of {settings.models} can be served: {reasons or 'none was found.'}")
    config = uvicorn.Config(
        app,
        http=_patient(settings.body_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    _Server(config, lambda: tell(served)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._tell()


def _patient(seconds: float) -> type[asyncio.Protocol]:
    """Return the web server's protocol, with an end to its patience for connections that never finish a request's headers."""

    class Patient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _end: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._end = self.loop.call_later(seconds, self._give_up)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._stop_waiting()
            elif self._end is None and (before is None or before.response_complete):
                self._end = self.loop.call_later(seconds, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _stop_waiting(self) -> None:
            if self._end is not None:
                self._end.cancel()
                self._end = None

        def _give_up(self) -> None:
            self._end = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Patient
