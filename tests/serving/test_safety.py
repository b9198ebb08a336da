"""Hostile requests: thousands of random and mutated ones get an answer that is no mistake of the server and shows no inside."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from pathlib import Path

import pytest
from serving_worlds import make_model, product_id

from tastemaker.model.folder import save
from tastemaker.serving.app import create_app
from tastemaker.serving.front.settings import Settings

SEEDS = [
    (
        "POST",
        "/v1/models/recommender:predict",
        {"signature_name": "call_item_item", "inputs": {"item": [1035]}},
    ),
    ("POST", "/v1/models/recommender/versions/1:predict", {"instances": [1035]}),
    ("POST", "/v1/models/texts/labels/stable:predict", {"instances": [{"b64": "cDEwMzU="}]}),
    (
        "POST",
        "/v1/models/recommender:predict",
        {"signature_name": "recommend_user", "inputs": {"user": ["u001", "x"], "k": 3}},
    ),
    (
        "POST",
        "/v1/models/recommender:predict",
        {"signature_name": "recommend_basket", "instances": [{"basket": [1035, 1042], "k": 2}]},
    ),
    (
        "POST",
        "/v1/models/recommender:predict",
        {"signature_name": "similar_products", "inputs": {"product": [1035], "include_self": True}},
    ),
    ("GET", "/v1/models/recommender/versions/1/metadata", None),
    ("GET", "/v1/models/recommender", None),
    ("GET", "/readyz", None),
    ("GET", "/metrics", None),
]
ODD = [
    None, True, False, 0, -1, 1.5, 1e400, -1e308, 2**31, 2**63, 2**64, 10**30, float("nan"), "", "x", "\x00", "é" * 50,
    "\ud800", "../../etc/passwd", "%2e%2e%2f", [], {}, [[]], [{}], {"b64": "!"}, {"b64": 1}, {"b64": "AAAA"}, [None] * 300,
    "a" * 3000, {"k": {"k": {"k": []}}}, [1035, "x"], [[1035], 1035],
]  # fmt: skip
WORDS = [
    "signature_name",
    "inputs",
    "instances",
    "item",
    "product",
    "user",
    "basket",
    "k",
    "include_self",
    "serving_default",
    "x",
]


def spoilt_value(rng, value):
    """Change one place of a JSON value, or replace it."""
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return rng.choice(
            [*ODD, rng.randrange(-(10**6), 10**6), "".join(map(chr, rng.choices(range(0xD7FF), k=5)))]
        )
    if isinstance(value, list):
        place = rng.randrange(len(value))
        return [*value[:place], spoilt_value(rng, value[place]), *value[place + 1 :]] * rng.choice(
            [1, 1, 1, 0, 2]
        )
    key = rng.choice([*value, *WORDS])
    changed = {**value, key: spoilt_value(rng, value.get(key))}
    if rng.random() < 0.2:
        changed.pop(rng.choice(list(changed)))
    return changed


def spoilt_bytes(rng, body):
    content = bytearray(body)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(content) + 1)
        kind = rng.random()
        if kind < 0.4 and place < len(content):
            content[place] = rng.randrange(256)
        elif kind < 0.7:
            content[place:place] = bytes(rng.choices(b'{}[]",:\\ \x00\xff019ntf', k=rng.randrange(1, 9)))
        else:
            del content[place : place + rng.randrange(1, 9)]
    return bytes(content)


def spoilt_path(rng, path):
    parts = [
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        ":",
        "/",
        "labels",
        "versions",
        "999999999999999999999",
        "-1",
        "0",
        "é",
        "%2F",
        " ",
        "metadata",
        ":predict",
    ]
    place = rng.randrange(4, len(path) + 1)
    return path[:place] + "/" * rng.randrange(2) + rng.choice(parts) + path[place + rng.randrange(3) :]


def spoilt_request(rng):
    method, path, body = rng.choice(SEEDS)
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None and rng.random() < 0.6:
        for _ in range(rng.randrange(1, 4)):
            body = spoilt_value(rng, body)
        content = json.dumps(body).encode()
    if rng.random() < 0.3:
        content = spoilt_bytes(rng, content or b"{}")
    if rng.random() < 0.3:
        path = spoilt_path(rng, path)
    if rng.random() < 0.1:
        method = rng.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "X"])
    headers = [(b"host", b"localhost")]
    if rng.random() < 0.2:
        name = rng.choice(
            [b"x-request-id", b"authorization", b"x-api-key", b"content-length", b"content-type", b"accept"]
        )
        headers.append((name, bytes(rng.choices(range(0x20, 0x100), k=rng.randrange(40)))))
    return method, path, headers, content


async def ask(app, method, path, headers, content):
    """Send one request to an application and return its status and everything that it said."""
    from urllib.parse import quote, unquote

    raw = quote(path, safe="/%:").encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(raw.decode()), "raw_path": raw, "root_path": "", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8501), "state": {},
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sent[0]["headers"], b"".join(part.get("body", b"") for part in sent[1:])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a-secret-place")
    save(make_model(1), folder / "recommender" / "1")
    save(make_model(2, text=True), folder / "texts" / "2")
    return folder


def test_ten_thousand_spoilt_requests_get_no_5xx_and_learn_nothing_of_the_inside(models):
    app = create_app(Settings(models=models, log_requests=False, body_bytes=20_000))
    rng = random.Random(20261124)
    secrets = [
        str(models).encode(),
        b"a-secret-place",
        b"Traceback",
        b"site-packages",
        b".py",
        b'File "',
        str(Path.home()).encode() + b"/",
    ]
    counts: dict[int, int] = {}

    async def run():
        async with app.router.lifespan_context(app):
            for _ in range(10_000):
                request = spoilt_request(rng)
                status, headers, body = await ask(app, *request)
                counts[status] = counts.get(status, 0) + 1
                assert status < 500, (request, body)
                assert not [secret for secret in secrets if secret in body], (request, body)
                assert any(name == b"x-request-id" for name, _ in headers)
                if request[1][:4] == "/v1/" and not (status == 200 and b"NaN" in body):
                    json.loads(body)

    asyncio.run(run())
    assert counts[200] > 500
    assert counts[400] > 2000
    assert counts[404] > 50


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../recommender",
        "%2e%2e",
        "..%2frecommender",
        "%2e%2e%2frecommender%2f1",
        "recommender%2f1",
        "recommender%00",
        ".",
        "",
    ],
)
def test_no_name_of_a_model_leads_out_of_the_folder(client, name):
    for path in (f"/v1/models/{name}", f"/v1/models/{name}/metadata", f"/v1/models/{name}:predict"):
        for method in ("GET", "POST"):
            # as bytes on a socket would say it: clients tidy such paths up
            status, _, body = asyncio.run(
                ask(client.app, method, path, [(b"host", b"localhost")], b'{"inputs": 1035}')
            )
            assert status in (400, 404), (method, path, body)
            assert b"manifest" not in body


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/models/x:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/x:predict HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 99999999999999999999\r\nConnection: close\r\n\r\n",
        b"POST /v1/models/x:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
def test_bytes_that_are_no_good_request_get_a_4xx_or_nothing(live, bytes_sent):
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        try:
            connection.sendall(bytes_sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except TimeoutError:
            raise
        except OSError:  # the server may hang up before all of it is sent
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert b"root:" not in answer
    assert live.client.get("/livez").status_code == 200


@pytest.fixture(scope="module")
def live(models, tmp_path_factory):
    from serving_worlds import serving

    with serving(models, tmp_path_factory.mktemp("log") / "serve.log", "--timeout", 2) as server:
        yield server
        log = server.log.read_text()
        assert "Traceback" not in log
        assert server.stop() == 0


def test_a_body_that_never_ends_is_cut_off(live):
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/models/recommender:predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        answer = b""
        try:
            for _ in range(200):
                connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            answer = connection.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert (
        live.client.post("/v1/models/recommender:predict", json={"inputs": product_id(1)}).status_code == 200
    )
