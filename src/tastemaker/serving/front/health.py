"""Routes for operators: is it alive, is it ready, what does it count."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tastemaker.serving.front.metrics import CONTENT_TYPE

__all__ = ["routes"]


def routes() -> list[Route]:
    """Return the routes ``/livez``, ``/readyz`` and ``/metrics``."""
    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


async def livez(_: Request) -> Response:
    """Answer: the process runs and its event loop turns."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Answer 200 when every model has a version to answer with, else 503; name the versions."""
    shelf = request.app.state.shelf
    models = {name: {"default": one.default, "ready": list(one.ready)} for name, one in shelf.models.items()}
    return JSONResponse({"ready": shelf.ready, "models": models}, 200 if shelf.ready else 503)


async def metrics(request: Request) -> Response:
    """Answer everything that is counted, in the text format of Prometheus."""
    text = await run_in_threadpool(request.app.state.metrics.text)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
