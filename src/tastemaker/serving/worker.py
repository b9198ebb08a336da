"""One process that answers: the models, the application and the web server around them."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable

from tastemaker.errors import ServerProblem
from tastemaker.serving.app import create_app, registry_of
from tastemaker.serving.connections.web_server import WebServer
from tastemaker.serving.front.settings import Settings

__all__ = ["work"]

SWITCH_SECONDS = 0.001
"""How long the event loop may keep Python's lock while a ranking thread wants it (Python's own value is five times that)."""


def work(settings: Settings, listener: socket.socket, tell: Callable[[list[str]], None]) -> int:
    """Load the models, tell what is served once requests are answered, and serve until a signal.

    Returns how many requests could not be answered before the end. Raises `ServerProblem`.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    registry = registry_of(settings)
    app = create_app(settings, registry=registry)
    registry.look()
    served = [f"{name}/{version}" for name, model in registry.models.items() for version in model.ready]
    if not served:
        reasons = "; ".join(reason for model in registry.models.values() for reason in model.refused.values())
        raise ServerProblem(f"no model of {settings.models} can be served: {reasons or 'none was found.'}")
    server = WebServer(app, settings, lambda: tell(served))
    server.run(sockets=[listener])
    return server.cut_off
