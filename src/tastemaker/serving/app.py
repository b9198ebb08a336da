"""`create_app`: the whole service as one Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

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
from tastemaker.serving.front.middleware import RequestMiddleware
from tastemaker.serving.front.problems import Refusal, html_not_found, refuse
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.measuring.figures import Figures
from tastemaker.serving.measuring.in_force import ExperimentsInForce
from tastemaker.serving.measuring.measuring import Measuring, exploring_of
from tastemaker.serving.measuring.outcome_store import KeptOutcomes
from tastemaker.serving.models.background import Background
from tastemaker.serving.models.gc_freeze import GarbageFreezer
from tastemaker.serving.models.registry import Registry
from tastemaker.serving.operations.endpoint import routes_of
from tastemaker.serving.operations.operation import open_paths
from tastemaker.serving.operations.service import Service
from tastemaker.serving.pages import routes as pages
from tastemaker.serving.shared.home import home_of
from tastemaker.serving.shared.shared_documents import SharedDocuments
from tastemaker.serving.shared.shared_events import SharedEvents, open_events
from tastemaker.serving.shared.shared_lists import open_lists
from tastemaker.serving.shared.shared_outcomes import open_outcomes, outcomes_in
from tastemaker.serving.tensorflow.routes import TensorFlowRoutes

__all__ = ["create_app", "registry_of"]


def registry_of(settings: Settings) -> Registry:
    """Return the registry of the models that the settings name; nothing is loaded yet."""
    return Registry(
        settings.models,
        catalogue=settings.catalogue,
        scratch=settings.scratch,
        keep=settings.keep_versions,
        approximate=settings.approximate,
        home=home_of(settings),
    )


def create_app(settings: Settings, *, registry: Registry | None = None) -> Starlette:
    """Return the application; while it runs, ``app.state.service`` is the `Service` that its handlers share.

    A ``registry`` that is given has its models already; without one, the models are loaded before the application answers. Raises
    `SettingProblem` when there is no usable keys file where one is named, and `StateProblem`.
    """
    models = registry_of(settings) if registry is None else registry
    metrics = Metrics(models)
    models.on_change(metrics.change)
    keys = None if settings.keys is None else WatchedKeys(models.home.keys(settings.keys))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if registry is None:
            models.look()
        if keys is not None:
            models.with_each_look(keys.look)
        with _running(settings, models, metrics, keys) as app.state.service:
            yield

    operations = (*api.operations(), *pages.OPERATIONS)
    app = Starlette(
        # routes are tried in this order, so what is asked for most comes first
        routes=[TensorFlowRoutes(), *routes_of(operations)],
        middleware=[
            Middleware(
                RequestMiddleware,
                settings=settings,
                metrics=metrics,
                keys=_current(keys),
                is_open=open_paths(operations),
            )
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # /v1 is not /v1/
    return app


def _current(keys: WatchedKeys | None) -> Callable[[], Keys | None]:
    return lambda: None if keys is None else keys.keys


def _outcomes_of(settings: Settings) -> Callable[[], KeptOutcomes]:
    """Return what opens the outcomes for reading alone, so that a report holds up nobody who posts some."""
    return lambda: outcomes_in(settings.events if settings.state is None else None, settings.state)


@contextmanager
def _running(
    settings: Settings, models: Registry, metrics: Metrics, keys: WatchedKeys | None
) -> Iterator[Service]:
    """Start everything that runs beside the requests, and end it again."""
    engine = Engine(settings.threads, settings.waiting)
    events = open_events(settings.events, settings.state)
    state = ApiState.open(settings, models, events)
    if isinstance(events, SharedEvents):
        events.start()
    measuring = Measuring(
        ExperimentsInForce(models),
        open_outcomes(events, settings.state),
        exploring_of(
            settings.explore, open_lists(events, settings.state) if settings.explore else None, metrics
        ),
        Figures(None if events is None else _outcomes_of(settings)),
    )
    home = models.home
    if isinstance(home, SharedDocuments):
        home.on_change(state.rules.look)
        home.on_change(measuring.experiments.look)
        if keys is not None:
            home.on_change(keys.look)
        home.start()
    models.with_each_look(state.rules.look)
    models.with_each_look(measuring.experiments.look)
    freezer = GarbageFreezer(forked=settings.workers > 1)
    models.on_change(freezer.change)
    models.with_each_look(freezer.look)
    freezer.look()
    models.watch(settings.poll_seconds)
    background = None if settings.scratch is None else Background(models, settings.scratch)
    if background is not None:
        background.start()
    try:
        yield Service(settings, models, engine, metrics, state, measuring, keys)
    finally:
        if background is not None:
            background.close()
        models.close()
        home.close()
        engine.close()
        measuring.close()
        state.close()
        freezer.close()


async def _refused(request: Request, error: Exception) -> Response:
    """Answer for Starlette itself: no such path, or no such method there."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404 and not path.startswith("/api/"):
        return html_not_found()
    return refuse(path, Refusal(error.status_code, str(error.detail), headers=dict(error.headers or {})))
