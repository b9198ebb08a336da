"""Every route is declared, and one place holds requests and answers to the declarations."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace

import msgspec
import pytest
from api_worlds import api_world
from hypothesis import given
from hypothesis import strategies as st
from serving_worlds import client_of
from starlette.routing import Route

from tastemaker.serving.api.schemas import ListQuery
from tastemaker.serving.app import create_app
from tastemaker.serving.front.problems import Refusal
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.operations.endpoint import Endpoint
from tastemaker.serving.operations.json_depth import check_depth
from tastemaker.serving.operations.operation import LINES, Content, Operation
from tastemaker.serving.operations.parsing import query_of
from tastemaker.serving.operations.service import RequestInfo
from tastemaker.serving.tensorflow.routes import TensorFlowOperation, TensorFlowRoutes


class Found(msgspec.Struct):
    """What a handler of these tests answers."""

    number: int


class Other(msgspec.Struct):
    """What it does not."""

    number: int


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return api_world(tmp_path_factory.mktemp("declarations"))


@pytest.fixture(scope="module")
def app(world):
    return create_app(world.settings)


@pytest.fixture(scope="module")
def api(world):
    settings = world.settings
    with client_of(settings.models, keys=settings.keys, events=settings.events, poll_seconds=60) as client:
        yield client


@pytest.fixture(scope="module")
def read_key(world):
    return {"Authorization": f"Bearer {world.reader}"}


def declared(app):
    """Return the method, a path and the needed role of every operation of an application."""
    found = []
    for route in app.routes:
        if isinstance(route, TensorFlowRoutes):
            for operation in route.operations:
                path = operation.path.replace("/v1/models", "/v1/models/recommender")
                found.append((operation.method, path, operation.role))
        else:
            for method, operation in route.endpoint.operations.items():
                found.append((method, re.sub("{[^}]*}", "x", operation.path), operation.role))
    return found


# Nothing without a declaration ------------------------------------------------------------------------------


def test_every_route_of_the_application_is_declared(app):
    assert len(app.routes) > 15
    for route in app.routes:
        if isinstance(route, TensorFlowRoutes):
            assert route.operations
            assert all(isinstance(operation, TensorFlowOperation) for operation in route.operations)
            continue
        assert type(route) is Route
        assert type(route.app) is Endpoint, f"{route.path} is answered by something that declares nothing"
        assert set(route.endpoint.operations) == route.methods
        for method, operation in route.endpoint.operations.items():
            assert type(operation) is Operation
            assert (operation.path, operation.method) == (route.path, "GET" if method == "HEAD" else method)


def test_an_operation_must_say_who_may_call_it():
    async def handler(request: RequestInfo) -> Found:
        return Found(1)

    with pytest.raises(TypeError, match="role"):
        Operation("GET", "/x", "x", "x", handler)


def test_a_handler_must_fit_its_path_its_method_and_say_what_it_answers():
    async def no_part(request: RequestInfo) -> Found:
        return Found(1)

    async def no_answer(request: RequestInfo):
        return Found(1)

    async def undeclared(request: RequestInfo) -> dict:
        return {}

    async def with_body(request: RequestInfo, body: Other) -> Found:
        return Found(body.number)

    for method, path, handler, message in (
        ("GET", "/x/{part}", no_part, "its path is"),
        ("GET", "/x", no_answer, "must declare what it answers"),
        ("GET", "/x", undeclared, "must declare what it answers"),
        ("GET", "/x", with_body, "takes a body"),
        ("POST", "/x", no_part, "takes a body"),
    ):
        with pytest.raises(TypeError, match=message):
            Operation(method, path, "x", "x", handler, role="read")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Other(1), "answered Other, not Found"),
        ({"number": 1}, "answered dict, not Found"),
        (Content(b"1", "text/plain"), "answered Content, not Found"),
    ],
)
def test_an_answer_of_another_type_than_the_declared_one_is_never_sent(answer, message):
    async def handler(request: RequestInfo) -> Found:
        return answer

    with pytest.raises(TypeError, match=message):
        send_to(Operation("GET", "/x", "x", "x", handler, role="open"))


def test_content_of_another_media_type_than_the_declared_ones_is_never_sent():
    async def handler(request: RequestInfo) -> Content:
        return Content(b"<html>", "text/html")

    with pytest.raises(TypeError, match="answered text/html, not text/plain"):
        send_to(Operation("GET", "/x", "x", "x", handler, role="open", media=("text/plain",)))


def send_to(operation):
    """Ask an operation, without a server; fail if it sends anything."""

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        pytest.fail("it sent an answer")

    app = SimpleNamespace(state=SimpleNamespace(service=SimpleNamespace(settings=None)))
    scope = {"method": "GET", "state": {"role": "read"}, "app": app, "path_params": {}}
    scope |= {"query_string": b"", "headers": []}
    asyncio.run(Endpoint([operation])(scope, receive, send))


# Who may do what --------------------------------------------------------------------------------------------


def test_without_a_key_only_open_operations_answer(app, api):
    for method, path, role in declared(app):
        refused = api.request(method, path).status_code == 401
        assert refused == (role != "open"), f"{method} {path} is declared as {role}"


def test_a_read_key_opens_no_admin_operation_and_an_admin_key_all(app, api, world, read_key):
    roles = {role for _, _, role in declared(app)}
    assert roles == {"open", "metrics", "read", "events", "admin"}
    for method, path, role in declared(app):
        answer = api.request(method, path, headers=read_key)
        assert (answer.status_code == 403) == (role in ("events", "admin")), (
            f"{method} {path} is declared as {role}"
        )
        assert api.request(method, path, headers=world.headers).status_code not in (401, 403)


def test_without_a_keys_file_nobody_is_an_admin(app, world):
    with client_of(world.settings.models, poll_seconds=60) as client:
        for method, path, role in declared(app):
            assert (client.request(method, path).status_code == 403) == (role in ("events", "admin")), path


def test_a_path_that_no_route_has_needs_a_key_too(api, read_key):
    assert api.get("/api/v1/secrets").status_code == 401
    assert api.get("/api/v1/secrets", headers=read_key).status_code == 404


# What is declared is parsed, and nothing else ---------------------------------------------------------------


def test_json_operations_refuse_a_parameter_that_they_do_not_declare(app, api, world):
    seen = 0
    for route in app.routes[1:]:
        for method, operation in route.endpoint.operations.items():
            if operation.answer is Content or method == "HEAD":
                continue
            path = re.sub("{[^}]*}", "x", operation.path)
            answer = api.request(method, f"{path}?nonesuch=1", headers=world.headers)
            assert answer.status_code == 400
            assert "there is no parameter 'nonesuch' here" in answer.json()["detail"]
            seen += 1
    assert seen > 10


# Depth ------------------------------------------------------------------------------------------------------


def nested(levels, content):
    return "[" * levels + content + "]" * levels


def test_json_deeper_than_32_levels_is_refused_on_every_route_that_takes_json(app, api, world):
    paths = [(method, path) for method, path, _ in declared(app) if method in ("POST", "PUT")]
    assert len(paths) > 6
    for method, path in paths:
        media = LINES if path.endswith("/bulk") else "application/json"
        headers = {**world.headers, "Content-Type": media}
        for deep in (nested(33, ""), nested(900, ""), '{"a":' * 33 + "1" + "}" * 33, "[" * 100_000):
            answer = api.request(method, path, content=deep, headers=headers)
            assert answer.status_code == 400
            assert "the JSON nests deeper than 32 levels." in answer.text, (path, deep[:40])
        for shallow in (nested(32, ""), nested(31, json.dumps("[" * 100 + '"\\'))):
            answer = api.request(method, path, content=shallow, headers=headers)
            assert answer.status_code == 400  # for what it holds
            assert "deeper" not in answer.text


brackets = st.recursive(
    st.one_of(st.text(alphabet='[]{}"\\a\n', max_size=6), st.integers(0, 9), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("[{\"\\", max_size=3), inner, max_size=3)),
    max_leaves=20,
)  # fmt: skip


def depth_of(value):
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


@given(brackets, st.integers(0, 6))
def test_depth_is_told_from_bytes_as_from_the_parsed_value(value, most):
    body = json.dumps(value, ensure_ascii=False).encode()
    if depth_of(value) <= most:
        check_depth(body, most)
    else:
        with pytest.raises(Refusal, match=f"deeper than {most}"):
            check_depth(body, most)


def test_a_query_that_was_read_before_is_held_to_the_limits_of_each_server(tmp_path):
    lax, strict = (Settings(models=tmp_path, most_k=most) for most in (50, 10))
    assert query_of(b"k=20", ListQuery, lax).k == 20
    with pytest.raises(Refusal, match="k is 20; it may be 10"):
        query_of(b"k=20", ListQuery, strict)
    assert query_of(b"k=20", ListQuery, lax).k == 20
    assert query_of(b"k=20&deny=" + b"a" * 1000, ListQuery, lax).deny == ["a" * 1000]
    for _ in range(2):
        with pytest.raises(Refusal, match="no parameter 'kk'"):
            query_of(b"kk=20", ListQuery, lax)
