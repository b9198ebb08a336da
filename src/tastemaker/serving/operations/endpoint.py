"""`Endpoint`: checks who asks, parses what is declared, calls the handler, and holds the answer to what is declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tastemaker.serving.front.middleware import check_role, header
from tastemaker.serving.operations.answers import send_content, send_json
from tastemaker.serving.operations.operation import Content, NoParameters, Operation
from tastemaker.serving.operations.parsing import body_of, lines_of, query_of
from tastemaker.serving.operations.service import RequestInfo, Service

__all__ = ["Endpoint", "content_of", "routes_of"]


def routes_of(operations: Iterable[Operation]) -> list[Route]:
    """Return the routes of some operations, one for each path, in the order in which the paths come first."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [_route(path, of_path) for path, of_path in by_path.items()]


def _route(path: str, operations: list[Operation]) -> Route:
    endpoint = Endpoint(operations)
    return Route(path, endpoint, methods=list(endpoint.operations))


class Endpoint:
    """What a path answers, as an ASGI application. Errors are answered by the middleware around it."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = {operation.method: operation for operation in operations}
        if "GET" in self.operations:
            self.operations["HEAD"] = self.operations["GET"]  # type: ignore[index]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        operation = self.operations[scope["method"]]
        notes: dict[str, Any] = scope["state"]
        role = notes["role"]
        check_role(role, operation.role)
        service: Service = scope["app"].state.service
        values: dict[str, Any] = dict(scope["path_params"])
        if operation.query is not None:
            values["query"] = query_of(scope["query_string"], operation.query, service.settings)
        elif operation.answer is not Content:
            query_of(scope["query_string"], NoParameters, service.settings)
        content = b""
        if operation.body is not None:
            content = await content_of(receive)
            media = header(scope, b"content-type")
            if operation.takes_lines:  # thousands of them: not between the requests of others
                values["body"] = await run_in_threadpool(
                    lines_of, content, media, operation.body, service.settings
                )
            else:
                values["body"] = body_of(content, media, operation.body, service.settings)
        headers = {name: _text(header(scope, name.lower().encode())) for name in operation.headers}
        request = RequestInfo(service, role, headers, content, notes)
        answer = await operation.handler(request, **values)
        if type(answer) is not operation.answer:
            raise TypeError(
                f"{operation.name} answered {type(answer).__name__}, not {operation.answer.__name__}"
            )
        if isinstance(answer, Content):
            if answer.body and answer.media not in operation.media:
                raise TypeError(f"{operation.name} answered {answer.media}, not {', '.join(operation.media)}")
            await send_content(answer, scope, send)
        else:
            await send_json(answer, scope, send)


async def content_of(receive: Receive) -> bytes:
    """Return the whole body; the middleware has read it already, and hands it on in one message."""
    message = await receive()
    content: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        content += message.get("body", b"")
    return content


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
