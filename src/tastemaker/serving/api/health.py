"""For whoever runs the server: is it alive, is it ready, what does it count."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool

from tastemaker.serving.front.metrics import CONTENT_TYPE
from tastemaker.serving.operations.operation import Content, Operation
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["OPERATIONS"]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class ModelReadiness(Struct):
    """The version of a model that answers by default, and all that are ready."""

    default: int | None
    ready: list[int]


class Readiness(Struct):
    """Whether every model has a version to answer with."""

    ready: bool
    models: dict[str, ModelReadiness]


async def livez(_: RequestInfo) -> Content:
    """Answer: the process runs and its event loop turns."""
    return Content(b"ok\n", TEXT)


async def readyz(request: RequestInfo) -> Content:
    """Answer 200 when every model has a version to answer with, else 503; name the versions."""
    registry = request.service.registry
    models = {
        name: ModelReadiness(served.default, list(served.ready)) for name, served in registry.models.items()
    }
    ready = registry.ready
    return Content(msgspec.json.encode(Readiness(ready, models)), JSON, 200 if ready else 503)


async def metrics(request: RequestInfo) -> Content:
    """Answer everything that is counted, in the text format of Prometheus."""
    return Content(await run_in_threadpool(request.service.metrics.text), CONTENT_TYPE)


OPERATIONS = (
    Operation("GET", "/livez", "livez", "Whether the process runs", livez, role="open", media=(TEXT,)),
    Operation(
        "GET", "/readyz", "readyz", "Whether every model can answer", readyz, role="open", media=(JSON,)
    ),
    Operation(
        "GET", "/metrics", "metrics", "Counters for Prometheus", metrics, role="read", media=(CONTENT_TYPE,)
    ),
)
