"""Refusals: how an error looks on the TensorFlow-shaped routes, on the clean API, and elsewhere."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from tastemaker.errors import NotServed, RulesLost, RulesProblem, ServerBusy, StateProblem

__all__ = ["Refusal", "html_not_found", "problem", "refusal_of", "refuse", "tensorflow_error"]


class Refusal(Exception):
    """A request that cannot be answered: handlers raise it, the middleware answers it in the shape of the route."""

    def __init__(
        self, status: int, detail: str, *, headers: dict[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.facts = status, detail, headers, facts


def refusal_of(error: Exception) -> Refusal | None:
    """Return the refusal that answers an error; ``None`` for one that is a mistake of the server."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotServed):
        return Refusal(404, str(error), missing=error.missing)
    if isinstance(error, RulesProblem):
        return Refusal(422, str(error))
    if isinstance(error, ServerBusy | RulesLost | StateProblem):
        return Refusal(503, str(error), headers={"Retry-After": "1"})
    return None


def refuse(path: str, refusal: Refusal) -> Response:
    """Return the answer to a refused request, in the shape that clients of this path expect."""
    if path[:4].lower() == "/v1/":
        return tensorflow_error(refusal.status, refusal.detail, headers=refusal.headers)
    return problem(refusal.status, refusal.detail, headers=refusal.headers, **refusal.facts)


def problem(
    status: int, detail: str, *, title: str | None = None, headers: dict[str, str] | None = None, **facts: Any
) -> Response:
    """Return a problem document (RFC 9457); ``facts`` are further members."""
    body = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **facts,
    }
    return Response(json.dumps(body), status, headers, "application/problem+json")


def tensorflow_error(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    """Return ``{"error": message}``, as TensorFlow Serving does."""
    return Response(json.dumps({"error": message}), status, headers, "application/json")


def html_not_found() -> Response:
    """Return the page that TensorFlow Serving's HTTP library (libevent) gives for paths outside ``/v1/``."""
    body = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    return Response(body, 404, media_type="text/html")
