"""`create_app`: the whole service as one Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from tastemaker.serving.answering.batcher import Engine
from tastemaker.serving.answering.state import ApiState
from tastemaker.serving.api import routes as api
from tastemaker.serving.front.api_keys import Keys, WatchedKeys
from tastemaker.serving.front.metrics import Metrics
from tastemaker.serving.front.middleware import Gate
from tastemaker.serving.front.problems import Refusal, html_not_found, refuse
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.models.background import Background
from tastemaker.serving.models.gc_freeze import Garbage
from tastemaker.serving.models.registry import Registry
from tastemaker.serving.operations.endpoint import routes_of
from tastemaker.serving.operations.operation import open_paths
from tastemaker.serving.operations.service import Service
from tastemaker.serving.pages import routes as pages
from tastemaker.serving.tensorflow.routes import TensorFlowRoutes

__all__ = ["create_app"]


def create_app(settings: Settings, *, shelf: Registry | None = None) -> Starlette:
    """Return the application. ``app.state`` holds ``settings``, ``shelf``, ``engine`` and ``metrics``.

    The shelf is looked at once before the application answers (unless a filled one is given) and watched until it ends. Raises
    `SettingProblem` when there is no usable keys file where one is named.
    """
    books = shelf or Registry(
        settings.models,
        catalogue=settings.catalogue,
        scratch=settings.scratch,
        keep=settings.keep_versions,
        approximate=settings.approximate,
    )
    metrics = Metrics(books)
    books.on_change(metrics.change)
    watched_keys = WatchedKeys(settings.keys) if settings.keys is not None else None

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        app.state.engine = Engine(settings.threads, settings.waiting)
        if shelf is None:
            books.look()
        if watched_keys is not None:
            books.with_each_look(watched_keys.look)
        app.state.api = ApiState.open(settings, books)
        app.state.service = Service(settings, books, app.state.engine, metrics, app.state.api)
        books.with_each_look(app.state.api.rules.look)
        garbage = Garbage(forked=settings.workers > 1)
        books.on_change(garbage.change)
        books.with_each_look(garbage.look)
        garbage.look()
        books.watch(settings.poll_seconds)
        ahead = Background(books, settings.scratch) if settings.scratch is not None else None
        if ahead is not None:
            ahead.start()
        try:
            yield
        finally:
            if ahead is not None:
                ahead.close()
            books.close()
            app.state.engine.close()
            app.state.api.close()
            garbage.close()

    def keys() -> Keys | None:
        return None if watched_keys is None else watched_keys.keys

    operations = (*api.operations(), *pages.OPERATIONS)
    is_open = open_paths(operations)
    app = Starlette(
        # tried in this order, so what is asked for most stands first
        routes=[TensorFlowRoutes(), *routes_of(operations)],
        middleware=[Middleware(Gate, settings=settings, metrics=metrics, keys=keys, is_open=is_open)],
        exception_handlers={HTTPException: _refused},
        lifespan=life,
    )
    app.router.redirect_slashes = False  # /v1 is not /v1/
    app.state.settings, app.state.shelf, app.state.metrics = settings, books, metrics
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Answer for Starlette itself: no such path, or no such method there."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404 and not path.startswith("/api/"):
        return html_not_found()
    return refuse(path, Refusal(error.status_code, str(error.detail), headers=dict(error.headers or {})))
