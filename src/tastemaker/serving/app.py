"""`create_app`: the whole service as one Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from tastemaker.serving import api, operations
from tastemaker.serving.engine import Engine
from tastemaker.serving.settings import Settings
from tastemaker.serving.shelf import Shelf

__all__ = ["create_app"]


def create_app(settings: Settings, *, shelf: Shelf | None = None) -> Starlette:
    """Return the application. ``app.state`` holds ``settings``, ``shelf`` and ``engine``.

    The shelf is looked at once when the application starts (unless a filled one is given) and watched until it ends.
    """
    books = shelf or Shelf(settings.models, scratch=settings.scratch)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        app.state.engine = Engine(settings.threads, settings.waiting)
        if shelf is None:
            books.look()
        books.watch(settings.poll_seconds)
        try:
            yield
        finally:
            books.close()
            app.state.engine.close()

    app = Starlette(routes=[*operations.routes(), *api.routes()], lifespan=life)
    app.state.settings, app.state.shelf = settings, books
    return app
