"""The API's way to forget a user."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool

from tastemaker.errors import EventsFull, EventsProblem, ModelFolderProblem, NotServed, UnknownId
from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.forgetting import ForgottenUser, forget_user
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["forget"]


async def forget(request: RequestInfo, query: bodies.ForgetQuery, user: str) -> bodies.ForgetAnswer:
    """Answer ``DELETE /api/v1/users/{user}``: 200 once no list of any worker, no history and no export holds anything of them."""
    registry = request.service.registry
    if query.model and query.model not in registry.models:
        raise NotServed(f"there is no model {query.model!r} here.", missing="model")
    names = [query.model] if query.model else list(registry.models)
    found = await run_in_threadpool(_forget, request, names, query, user)
    await run_in_threadpool(registry.look)  # this worker; the others hide the user meanwhile
    counts = [forgotten.live_events or 0 for forgotten in found.values()]
    return bodies.ForgetAnswer(
        user,
        max(counts, default=0),
        [_said(name, forgotten) for name, forgotten in found.items()],
        any(forgotten.again for forgotten in found.values()),
    )


def _forget(
    request: RequestInfo, names: list[str], query: bodies.ForgetQuery, user: str
) -> dict[str, ForgottenUser]:
    """Have every model forget a user; one that does not know them does nothing, where another does."""
    service, found, unknown = request.service, {}, None
    for name in names:
        try:
            if service.measuring.exploring is not None:
                service.measuring.exploring.log.flush()  # what waits to be logged is deleted, too
            found[name] = forget_user(
                Path(service.registry.models[name].folder),
                user,
                events=service.state.events,
                everywhere=query.everywhere,
                in_advance=query.in_advance,
                state=service.registry.models[name].state,
                threads=service.settings.threads,
            )
        except UnknownId:
            unknown = Refusal(
                404, "no version of any model and no live event knows this user.", missing="user"
            )
        except ModelFolderProblem as error:
            raise Refusal(422, _without_paths(str(error), service.registry.models[name].folder)) from None
        except EventsFull as error:
            raise Refusal(507, str(error)) from None
        except (EventsProblem, TimeoutError) as error:
            raise Refusal(503, str(error), headers={"Retry-After": "1"}) from None
    if unknown is not None and not found:
        raise unknown
    return found


def _without_paths(text: str, folder: Path) -> str:
    return text.replace(str(folder.absolute()), folder.name).replace(str(folder), folder.name)


def _said(name: str, forgotten: ForgottenUser) -> bodies.ForgottenBy:
    emptied = [bodies.EmptiedVersion(each.version, each.receipt) for each in forgotten.emptied]
    return bodies.ForgottenBy(
        name, emptied, list(forgotten.removed), list(forgotten.left), list(forgotten.unreadable)
    )
