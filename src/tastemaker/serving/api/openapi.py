"""OpenAPI 3.1 of the API, written from its operations, and a page that shows it without any file from elsewhere."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Struct

from tastemaker.serving.api import schemas as bodies
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.operations.answers import tag_of
from tastemaker.serving.operations.operation import LINES, Content, Operation, path_parts
from tastemaker.serving.operations.parsing import components, schema_of
from tastemaker.serving.operations.service import RequestInfo

__all__ = ["describe", "operations"]

ALWAYS = (400, 401, 403, 421, 429, 500, 503, 504)
"""Refusals that any request may get: bad request, key, rate, time limit"""

HEADERS: dict[str, dict[str, Any]] = {
    "If-Match": {
        "description": "The ETag under which the rules were read: they are replaced only if they are still those.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "A name of this request: sent again with the same purchases, it keeps nothing twice (for a week).",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
}


JSON = "application/json"
HTML = "text/html; charset=utf-8"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def operations(described: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return the operations that describe others: ``/openapi.json`` for programs, ``/docs`` for people."""

    async def document(request: RequestInfo) -> Content:
        found = msgspec.json.encode(describe(described, request.service.settings))
        return Content(found, JSON, headers={"ETag": tag_of(found), "Cache-Control": "private, no-cache"})

    async def page(request: RequestInfo) -> Content:
        text = _page(describe(described, request.service.settings))
        return Content(text.encode(), HTML, headers={"Content-Security-Policy": POLICY})

    return (
        Operation(
            "GET", "/openapi.json", "openapi", "This API, described for programs", document, role="open"
        ),
        Operation("GET", "/docs", "docs", "This API, described for people", page, role="open", media=(HTML,)),
    )


@cache
def describe(operations: tuple[Operation, ...], settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of some operations; limits are those that the operator set."""
    kinds: list[type[Struct]] = [bodies.Problem]
    for operation in operations:
        kinds += [
            kind for kind in (_struct_of(operation), operation.body) if kind is not None and kind not in kinds
        ]
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path.replace(":path", ""), {})[operation.method.lower()] = _operation(
            operation
        )
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "tastemaker",
            "version": version("tastemaker"),
            "description": "Recommendations with rules, fallbacks and reasons. Ids are text or integers, as the shop's files have "
            "them; in a path they are text. Errors are problem documents (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": components(kinds),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [] if settings.keys is None else [{"key": []}],
    }
    limited: dict[str, Any] = _limited(copy.deepcopy(found), settings)
    return limited


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in path_parts(operation.path)
    ]
    if operation.query is not None:
        schema = schema_of(operation.query)
        parameters += [
            _parameter(name, part, name in schema["required"]) for name, part in schema["properties"].items()
        ]
    parameters += [
        {"name": name, "in": "header", "required": False, **HEADERS[name]} for name in operation.headers
    ]
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
    }
    if operation.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": _content_of(operation.body, lines=operation.takes_lines),
        }
    found["responses"] = {
        "200": _success(operation),
        **{str(status): _refusal(status) for status in sorted({*ALWAYS, *operation.refusals})},
    }
    if operation.method == "GET" and operation.answer is not Content:
        found["responses"]["304"] = {"description": "The client has this answer already (`If-None-Match`)."}
    if operation.role != "read":
        found["description"] = (
            f"Needs a key of the role {operation.role}."
            if operation.role == "admin"
            else f"Needs a key of the role {operation.role} or admin."
        )
    return found


def _content_of(body: type[Struct], *, lines: bool) -> dict[str, Any]:
    """Return how a body is written; JSON lines are a list whose entries stand on a line each."""
    if not lines:
        return {JSON: {"schema": _reference(body)}}
    return {
        LINES: {
            "schema": {
                "type": "array",
                "description": "One JSON object a line.",
                "items": _reference(body),
                "minItems": 1,
                "x-limit": "most_lines",
            }
        }
    }


def _parameter(name: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    schema = dict(schema)
    description = schema.pop("description", None)
    found = {"name": name, "in": "query", "required": required, "schema": schema}
    return found if description is None else {**found, "description": description}


def _success(operation: Operation) -> dict[str, Any]:
    answer = _struct_of(operation)
    if answer is None:
        headers = {"Last-Number": {"description": "The number to go on after.", "schema": {"type": "string"}}}
        content: dict[str, Any] = {media: {} for media in operation.media}
        return {"description": "The file.", "headers": headers, "content": content}
    headers = {"ETag": {"description": "Names this answer.", "schema": {"type": "string"}}}
    return {
        "description": (answer.__doc__ or "").strip(),
        "headers": headers,
        "content": {"application/json": {"schema": _reference(answer)}},
    }


def _struct_of(operation: Operation) -> type[Struct] | None:
    """Return the struct that an operation answers, ``None`` where it answers something else than JSON."""
    answer = operation.answer
    return answer if issubclass(answer, Struct) else None


def _refusal(status: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _reference(bodies.Problem)}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _limited(part: Any, settings: Settings) -> Any:
    """Put the operator's limits in the place of their names."""
    if isinstance(part, list):
        return [_limited(inner, settings) for inner in part]
    if not isinstance(part, dict):
        return part
    found = {key: _limited(value, settings) for key, value in part.items() if key != "x-limit"}
    if "x-limit" in part:
        found["maxItems" if part.get("type") == "array" else "maximum"] = getattr(settings, part["x-limit"])
    return found


STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; font-size: 1.15rem; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .75rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
border-bottom: 1px solid var(--line); } nav li { list-style: none; } nav ul { padding: 0; }
nav code, h2 code { overflow-wrap: anywhere; }
"""


def _page(found: dict[str, Any]) -> str:
    schemas = found["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    links = "".join(
        f'<li><a href="#{operation["operationId"]}"><code>{method} {_text(path)}</code></a> {_text(operation["summary"])}</li>'
        for method, path, operation in operations
    )
    parts = "".join(_section(method, path, operation) for method, path, operation in operations)
    shapes = "".join(
        f'<h2 id="schema-{name}">{name}</h2><p>{_text(schema.get("description", ""))}</p>{_table(_fields(schema))}'
        for name, schema in schemas.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>tastemaker API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>tastemaker API</h1><p>{_text(found['info']['description'])} The same for machines: "
        f'<a href="/openapi.json">/openapi.json</a>.</p><nav><ul>{links}</ul></nav><main>{parts}<h1>Shapes</h1>{shapes}</main>'
        "</body></html>"
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        (part["name"], part["in"], _kind(part["schema"]), part.get("description", ""))
        for part in operation["parameters"]
    ]
    body = ""
    if "requestBody" in operation:
        written = [
            f"{_kind(one['schema'])} as {media}" for media, one in operation["requestBody"]["content"].items()
        ]
        body = f"<p>Body: {', '.join(written)}</p>"
    responses = operation["responses"]
    success = ", ".join(
        _kind(media["schema"]) if media else kind for kind, media in responses["200"]["content"].items()
    )
    refusals = ", ".join(
        f"{status} {answer['description']}" for status, answer in responses.items() if status[0] in "45"
    )
    return (
        f'<h2 id="{operation["operationId"]}"><code>{method} {_text(path)}</code></h2>'
        f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>{_table(rows)}{body}"
        f"<p>200: {success}. {_text(responses['200']['description'])}</p>"
        f"<p><small>Refusals, as {_kind(_reference(bodies.Problem))}: {_text(refusals)}.</small></p>"
    )


def _fields(schema: dict[str, Any]) -> list[tuple[str, ...]]:
    required = set(schema.get("required", ()))
    return [
        (name, "required" if name in required else "", _kind(part), part.get("description", ""))
        for name, part in schema.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    """Return a type as a line of HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(inner) for inner in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"<code>{_text(json.dumps(choice))}</code>" for choice in schema["enum"])
    kind = schema.get("type", "anything")
    text = f"list of {_kind(schema['items'])}" if kind == "array" and "items" in schema else _text(str(kind))
    facts = [
        f"{name} {schema[key]}" for key, name in _FACTS.items() if key in schema and abs(schema[key]) < 1e15
    ]
    if "default" in schema and schema["default"] not in ([], {}):
        facts.append(f"default {json.dumps(schema['default'])}")
    return f"{text} ({_text(', '.join(facts))})" if facts else text


_FACTS = {"minimum": "from", "maximum": "to", "maxItems": "at most", "maxLength": "at most"}


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table; the third cell of four, and of three, is HTML already."""
    if not rows:
        return ""
    lines = ""
    for row in rows:
        cells = [cell if place == 2 else _text(cell) for place, cell in enumerate(row)]
        lines += (
            "<tr><td><code>"
            + cells[0]
            + "</code></td>"
            + "".join(f"<td>{cell}</td>" for cell in cells[1:])
            + "</tr>"
        )
    return f"<table>{lines}</table>"


def _text(text: str) -> str:
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
