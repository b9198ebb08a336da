"""For the server's operator: is it alive, is it ready, what does it count."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool

from tastemaker.serving.front.metrics import CONTENT_TYPE
from tastemaker.serving.operations.operation import Content, Operation
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.serving.shared.shared_documents import SharedDocuments
from tastemaker.serving.shared.shared_events import SharedEvents

__all__ = ["OPERATIONS"]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class ModelReadiness(Struct, omit_defaults=True):
    """A model's default version, all that are ready, and why others are not or a changed file was refused."""

    default: int | None
    ready: list[int]
    refused: dict[str, str] = {}
    problems: list[str] = []
    """What is wrong with the rules and the labels of the model"""


class Readiness(Struct, omit_defaults=True):
    """Whether every model has a version to answer with, and the folder is still watched."""

    ready: bool
    models: dict[str, ModelReadiness]
    problem: str = ""
    """Why it is not ready, apart from the models"""
    keys: str = ""
    """What is wrong with the keys, where something is"""
    events: str = ""
    """What is wrong with the live purchases that several hosts share, where something is"""
    state: str = ""
    """What is wrong with the rules, labels and keys that several hosts share, where something is"""


async def livez(_: RequestInfo) -> Content:
    """Answer: the process runs and its event loop turns."""
    return Content(b"ok\n", TEXT)


async def readyz(request: RequestInfo) -> Content:
    """Answer 200 when every model has a version to answer with, its rules are known and the folder is watched; else 503."""
    registry = request.service.registry
    rules = request.service.state.rules
    models = {
        name: ModelReadiness(
            served.default,
            list(served.ready),
            {str(version): reason for version, reason in served.refused.items()},
            [said for said in (rules.problem(name), served.labels_problem) if said is not None],
        )
        for name, served in registry.models.items()
    }
    problem = "files have not been looked at for long; the log may say why." if registry.stale else ""
    lost = [name for name in models if rules.lost(name)]
    if lost:
        problem = (
            f"the rules of {', '.join(lost)} cannot be read, and no good ones are known: lists are refused."
        )
    ready = registry.ready and not problem
    keys = request.service.keys
    spoilt = keys is not None and keys.problem is not None
    events = request.service.state.events
    home = registry.home
    told = Readiness(
        ready,
        models,
        problem,
        "the file of keys is not one; the last good keys hold." * spoilt,
        events.problem if isinstance(events, SharedEvents) else "",
        " ".join(filter(None, (home.problem, home.clock))) if isinstance(home, SharedDocuments) else "",
    )
    return Content(msgspec.json.encode(told), JSON, 200 if ready else 503)


async def metrics(request: RequestInfo) -> Content:
    """Answer everything that is counted, in the text format of Prometheus."""
    return Content(await run_in_threadpool(request.service.metrics.text), CONTENT_TYPE)


OPERATIONS = (
    Operation("GET", "/livez", "livez", "Whether the process runs", livez, role="open", media=(TEXT,)),
    Operation(
        "GET", "/readyz", "readyz", "Whether every model can answer", readyz, role="open", media=(JSON,)
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Counters for Prometheus",
        metrics,
        role="metrics",
        media=(CONTENT_TYPE,),
    ),
)
