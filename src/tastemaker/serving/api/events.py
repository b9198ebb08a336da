"""The API's live purchases: kept before they are acknowledged, and exported for the next training."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable

import msgspec
from msgspec import UNSET, UnsetType
from starlette.concurrency import run_in_threadpool

from tastemaker.data.past import PURCHASE
from tastemaker.data.reading.values.refunds import REFUND
from tastemaker.errors import EventsFull, EventsProblem, KeyUsedOtherwise
from tastemaker.serving.answering.event_store import (
    Event,
    Events,
    as_bytes,
    read_events,
)
from tastemaker.serving.api.moments import microseconds_of
from tastemaker.serving.api.schemas import (
    BulkAnswer,
    EventsAnswer,
    EventsBody,
    ExportQuery,
    LineProblem,
    PurchaseBody,
)
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.operations.operation import Content, Lines
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["TYPES", "add", "add_many", "export", "refuse_nul", "written"]

TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
SHOWN_PROBLEMS = 100
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def add(request: RequestInfo, body: EventsBody) -> EventsAnswer:
    """Answer ``POST /api/v1/events``: 200 once the purchases are on the disk, and in the queries of their users."""
    events, accepted, repeated = await _kept(request, body.purchases)
    return EventsAnswer(accepted, repeated, _unknown_kinds(request, events))


async def add_many(request: RequestInfo, body: Lines[PurchaseBody]) -> BulkAnswer:
    """Answer ``POST /api/v1/events/bulk``: 200 once all lines that can be taken are on the disk; the others are named."""
    events, accepted, repeated = await _kept(request, body.taken)
    problems = [LineProblem(line, detail) for line, detail in body.refused[:SHOWN_PROBLEMS]]
    return BulkAnswer(accepted, len(body.refused), repeated, problems, _unknown_kinds(request, events))


async def _kept(request: RequestInfo, purchases: list[PurchaseBody]) -> tuple[list[Event], int, bool]:
    """Keep purchases, all of them or none; return them, how many were kept, and whether they had been before."""
    now = int(time.time() * 1_000_000)
    events = [
        Event(
            str(purchase.user),
            str(purchase.product),
            now if purchase.time is UNSET else microseconds_of(purchase.time),
            purchase.quantity,
            purchase.kind,
            msgspec.json.encode(purchase.context).decode() if purchase.context else "",
        )
        for purchase in purchases
    ]
    store = _store(request)
    if store.follows:
        refuse_nul(text for one in events for text in (one.user, one.product, one.kind))
    accepted, repeated = await written(
        request, lambda key, digest: store.add(events, key=key, content=digest)
    )
    return events, accepted, repeated


def refuse_nul(texts: Iterable[str]) -> None:
    """Refuse (422) what PostgreSQL cannot keep."""
    if any("\0" in text for text in texts):
        raise Refusal(
            422, "an id or a kind holds the character U+0000, which PostgreSQL cannot keep; nothing was kept."
        )


async def written(
    request: RequestInfo, write: Callable[[str | None, bytes], tuple[int, bool]]
) -> tuple[int, bool]:
    """Return what ``write`` returns for a request's idempotency key and digest; refuse where it cannot be kept."""
    key = request.headers["Idempotency-Key"]
    if key is not None and not _KEY.fullmatch(key):
        raise Refusal(400, "an Idempotency-Key is 1 to 255 visible ASCII letters.")
    digest = hashlib.sha256(request.content).digest()
    try:
        return await run_in_threadpool(write, key, digest)
    except KeyUsedOtherwise as error:
        raise Refusal(422, str(error)) from None
    except EventsFull as error:
        raise Refusal(507, str(error)) from None
    except EventsProblem as error:
        raise Refusal(503, str(error), headers={"Retry-After": "1"}) from None


def _unknown_kinds(request: RequestInfo, events: list[Event]) -> list[str] | UnsetType:
    """Return the kinds that no model in service learned from: such events are kept for the next training and say nothing now."""
    known = {PURCHASE, REFUND}
    for served in request.service.registry.models.values():
        for loaded in served.ready.values():
            known |= set(() if loaded.model.kinds is None else loaded.model.kinds.names)
    return sorted({event.kind for event in events} - known) or UNSET


async def export(request: RequestInfo, query: ExportQuery) -> Content:
    """Answer ``GET /api/v1/events/export``: a log for `tastemaker train`, by number, as much as asked for."""
    store = _store(request)
    try:
        frame = await run_in_threadpool(read_events, store.file, after=query.after, most=query.limit)
    except EventsProblem as error:
        raise Refusal(503, str(error)) from None
    content = await run_in_threadpool(as_bytes, frame, query.format, raw_cells=query.raw_cells)
    last = query.after if frame.is_empty() else int(frame["number"][-1])
    headers = {"Last-Number": str(last), "Cache-Control": "no-store"}
    return Content(content, TYPES[query.format], headers=headers)


def _store(request: RequestInfo) -> Events:
    store = request.service.state.events
    if store is None:
        raise Refusal(404, "this server takes no purchases; start it with --events FILE.", missing="events")
    return store
