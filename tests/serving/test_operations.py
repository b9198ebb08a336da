"""What operators rely on: probes, counters, logs, limits, keys, draining, and errors in one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
from serving_worlds import client_of, make_model, product_id

from tastemaker.errors import SettingProblem
from tastemaker.model.folder import save
from tastemaker.serving.front.api_keys import new_key, read_keys, remove_key
from tastemaker.serving.front.rate_limit import RateLimits
from tastemaker.serving.front.settings import Settings

PREDICT = "/v1/models/recommender:predict"
BODY = {"inputs": product_id(5)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(make_model(1), folder / "recommender" / "1")
    return folder


def request_of(body: bytes, path: str = PREDICT, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer_of(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


# Probes and counters


def test_a_server_is_alive_and_ready_and_says_with_what(client):
    assert client.get("/livez").text == "ok\n"
    assert client.get("/readyz").json() == {
        "ready": True,
        "models": {
            "recommender": {"default": 3, "ready": [1, 3]},
            "texts": {"default": 2, "ready": [2]},
        },
    }


def test_a_server_without_a_model_is_alive_and_not_ready(tmp_path):
    with client_of(tmp_path) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503


def test_requests_unknown_ids_and_model_age_are_counted(models):
    with client_of(models) as client:
        client.post(PREDICT, json=BODY)
        client.post(PREDICT, json={"inputs": 7})
        client.post(PREDICT, json={"signature_name": "recommend_user", "inputs": ["u001", "who", "where"]})
        client.get("/what/is/this")
        lines = client.get("/metrics").text.splitlines()
    labels = 'model="recommender",route="/v1/models:predict"'
    assert f'tastemaker_requests_total{{{labels},status="200",version="1"}} 2.0' in lines
    assert f'tastemaker_requests_total{{{labels},status="400",version="1"}} 1.0' in lines
    assert 'tastemaker_requests_total{model="",route="unmatched",status="404",version=""} 1.0' in lines
    assert 'tastemaker_unknown_ids_total{kind="user",model="recommender"} 2.0' in lines
    assert 'tastemaker_unknown_ids_total{kind="product",model="recommender"} 1.0' in lines
    assert 'tastemaker_request_seconds_count{route="/v1/models:predict"} 3.0' in lines
    age = next(line for line in lines if line.startswith("tastemaker_model_age_seconds{"))
    assert 0 <= float(age.split()[-1]) < 3600


def test_an_empty_list_is_counted(tmp_path):
    save(make_model(1, products=1), tmp_path / "one" / "1")
    with client_of(tmp_path) as client:
        body = {"signature_name": "similar_products", "inputs": {"product": 1000}}
        assert client.post("/v1/models/one:predict", json=body).json()["outputs"]["product_ids"] == []
        assert 'tastemaker_empty_answers_total{model="one"} 1.0' in client.get("/metrics").text


def test_a_request_keeps_its_id_or_gets_one(client):
    assert client.get("/livez", headers={"X-Request-ID": "shop-7.a"}).headers["x-request-id"] == "shop-7.a"
    made = [client.get("/livez").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    spoilt = client.get("/livez", headers={"X-Request-ID": "a b\t" + "x" * 100}).headers["x-request-id"]
    assert " " not in spoilt


# Limits


def test_a_body_that_is_too_long_is_refused_whether_announced_or_not(models):
    with client_of(models, body_bytes=1000) as client:
        answer = client.post(PREDICT, content=b"x" * 1001)
        assert (answer.status_code, answer.json()) == (413, {"error": "the body is longer than 1,000 bytes."})
        chunked = client.post(PREDICT, content=iter([b"x" * 600, b"x" * 600]))
        assert chunked.status_code == 413


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, "[" * 500 + "]" * 500])
def test_json_that_nests_too_deep_is_refused(client, deep):
    answer = client.post(PREDICT, content=f'{{"inputs": {deep}')
    assert answer.status_code == 400
    answer = client.post(PREDICT, content=f'{{"extra": {"[" * 40}{"]" * 40}, "inputs": 1035}}')
    assert (answer.status_code, answer.json()["error"]) == (400, "the JSON nests deeper than 32 levels.")


def test_a_request_that_takes_too_long_is_a_504(models):
    with client_of(models, seconds=0.05) as client:
        engine = client.app.state.service.engine

        async def never(*_, **__):
            await asyncio.sleep(60)

        engine.nearest = never
        answer = client.post(PREDICT, json=BODY)
        assert (answer.status_code, answer.json()) == (504, {"error": "no answer within 0.05 seconds."})


def test_a_server_with_too_much_to_do_says_so(models):
    with client_of(models, waiting=1) as client:
        client.app.state.service.engine._held = 1
        answer = client.post(PREDICT, json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_client_that_asks_too_often_is_told_when_to_come_back(models):
    with client_of(models, requests_per_second=0.01, burst=3) as client:
        statuses = [client.get("/livez").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert 1 <= int(client.get("/livez").headers["retry-after"]) <= 100


def test_a_bucket_of_tokens_fills_up_with_time():
    rates = RateLimits(2.0, 3)
    assert [rates.wait("a", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert rates.wait("b", 0.0) == 0
    assert [rates.wait("a", 0.5), rates.wait("a", 0.5)] == [0, 1]
    assert [rates.wait("a", 100.0) for _ in range(4)] == [0, 0, 0, 1]


def test_settings_that_cannot_work_are_refused():
    for wrong in (
        {"port": 70000},
        {"most_k": 0},
        {"seconds": float("nan")},
        {"workers": -1},
        {"requests_per_second": -1},
    ):
        with pytest.raises(SettingProblem):
            Settings(models=Path(), **wrong)


def test_a_mistake_of_the_server_shows_nothing_of_its_inside(models):
    with client_of(models) as client:

        async def broken(*_, **__):
            raise RuntimeError("/secret/path and a trace")

        client.app.state.service.engine.nearest = broken
        answer = client.post(PREDICT, json=BODY)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text


# Keys


def test_keys_are_hashed_at_rest_and_private(tmp_path):
    file = tmp_path / "keys.json"
    key, text = new_key(file, "read")
    assert text not in file.read_text()
    assert text.rpartition("_")[2] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert read_keys(file).find(text) == key
    assert read_keys(file).find(text[:-1]) is None


def test_a_server_with_keys_answers_only_who_has_one(models, tmp_path):
    file = tmp_path / "keys.json"
    _, text = new_key(file, "read")
    with client_of(models, keys=file) as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"X-API-Key": text[:-1]},
            {"Authorization": text},
        ):
            answer = client.post(PREDICT, json=BODY, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert list(answer.json()) == ["error"]
        for headers in (
            {"Authorization": f"Bearer {text}"},
            {"authorization": f"bearer {text}"},
            {"X-API-Key": text},
        ):
            assert client.post(PREDICT, json=BODY, headers=headers).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200
        odd = {"Authorization": b"Bearer \xff\xfe"}
        assert client.post(PREDICT, json=BODY, headers=odd).status_code == 401


def test_a_key_whose_last_day_is_past_is_refused_with_its_name_and_probes_are_answered_all_the_same(
    models, tmp_path
):
    file = tmp_path / "keys.json"
    _, text = new_key(file, "read", name="anna", expires="2999-01-31")
    _, other = new_key(file, "read", name="bert")
    headers = {"Authorization": f"Bearer {text}"}
    with client_of(models, keys=file) as client:
        assert client.post(PREDICT, json=BODY, headers=headers).status_code == 200
    file.write_text(file.read_text().replace("2999-01-31", "2001-01-31"))
    with client_of(models, keys=file) as client:
        answer = client.post(PREDICT, json=BODY, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"] == "the key anna ended on 2001-01-31; ask for a new one."
        assert client.get("/livez", headers=headers).status_code == 200
        assert client.post(PREDICT, json=BODY, headers={"X-API-Key": other}).status_code == 200


def test_a_file_of_keys_from_before_names_and_last_days_is_read(tmp_path):
    entry = {
        "name": "0a1b2c3d",
        "role": "read",
        "sha256": hashlib.sha256(b"tm_read_x").hexdigest(),
        "created": "2026-01-01T00:00:00+00:00",
    }
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [entry]}))
    key = read_keys(tmp_path / "keys.json").find("tm_read_x")
    assert (key.name, key.expires, key.is_over()) == ("0a1b2c3d", None, False)


def test_keys_are_rotated_without_a_restart(models, tmp_path):
    file = tmp_path / "keys.json"
    old_key, old = new_key(file, "read")

    def status(client, text):
        return client.post(PREDICT, json=BODY, headers={"X-API-Key": text}).status_code

    with client_of(models, keys=file, poll_seconds=0.02) as client:
        _, new = new_key(file, "read")
        end = time.monotonic() + 10
        while status(client, new) != 200 and time.monotonic() < end:
            time.sleep(0.02)
        assert (status(client, old), status(client, new)) == (200, 200)
        remove_key(file, old_key.name)
        while status(client, old) != 401 and time.monotonic() < end:
            time.sleep(0.02)
        assert (status(client, old), status(client, new)) == (401, 200)
        file.write_text("spoilt")
        time.sleep(0.2)
        assert status(client, new) == 200


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"keys": []}', '{"keys": [{"name": "a", "role": "root", "sha256": "", "created": ""}]}'],
)
def test_a_keys_file_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(SettingProblem, match="key"):
        read_keys(tmp_path / "keys.json")


def test_the_last_key_stays(tmp_path):
    key, _ = new_key(tmp_path / "keys.json", "admin")
    with pytest.raises(SettingProblem, match="the last key"):
        remove_key(tmp_path / "keys.json", key.name)


def test_keys_from_the_command_line(tastemaker, tmp_path):
    file = tmp_path / "keys.json"
    made = tastemaker("key", "new", "--keys", file, "--role", "admin")
    assert made.stdout.startswith("tm_admin_")
    assert made.stdout.count("\n") == 1
    listed = tastemaker("key", "list", "--keys", file).stdout.split()
    assert listed[1] == "admin"
    assert made.stdout.strip() not in listed
    assert tastemaker("key", "remove", "--keys", file, "nobody").returncode == 1


# The process


def test_a_server_says_in_one_line_where_it_is_and_what_it_serves(models, start):
    server = start(models)
    assert server.announced == f"Serving recommender/1 at http://127.0.0.1:{server.port}\n"
    assert server.client.post(PREDICT, json=BODY).status_code == 200
    assert server.stop() == 0
    assert server.process.stdout.read() == ""


def test_the_log_is_json_with_request_ids_and_without_secrets(models, start, tmp_path):
    file = tmp_path / "keys.json"
    key, text = new_key(file, "read")
    server = start(models, "--keys", file)
    headers = {"Authorization": f"Bearer {text}", "X-Request-ID": "abc"}
    server.client.post(f"{PREDICT}?token=hush", json=BODY, headers=headers)
    server.client.get("/metrics", headers={"X-API-Key": "tm_guess"})
    server.stop()
    log = server.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(datetime.fromisoformat(line["time"]).utcoffset() == timedelta() for line in lines)
    assert lines[-1]["message"] == "ended; all requests were answered"
    mine = next(line for line in lines if line.get("request_id") == "abc")
    expected = {
        "method": "POST",
        "path": PREDICT,
        "status": 200,
        "key": key.name,
        "model": "recommender",
        "version": 1,
    }
    assert {name: mine[name] for name in expected} == expected
    for secret in (text, "hush", "tm_guess"):
        assert secret not in log


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_a_running_request_end(models, start, workers):
    server = start(models, "--workers", workers)
    body = json.dumps(BODY).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        whole = request_of(body, PREDICT, "Connection: close")
        connection.sendall(whole[:-5])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10
        while _connects(
            server.port
        ):  # new ones are to be refused, and not to wait for the end of the old ones
            assert time.monotonic() < end, "still accepts connections"
            time.sleep(0.02)
        connection.sendall(whole[-5:])
        assert answer_of(connection).startswith(b"HTTP/1.1 200 OK")
    assert server.process.wait(timeout=20) == 0


def _connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_ctrl_c_ends_a_server_with_zero(models, start):
    assert start(models).stop(signal.SIGINT) == 0


def test_slow_clients_are_given_up_and_hold_up_nobody(models, start):
    server = start(models, "--timeout", 1.5)
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(20)]
    for number, connection in enumerate(slow):
        connection.sendall(request_of(b"x" * 100)[: 20 if number % 2 else -50])
    for _ in range(20):
        assert server.client.post(PREDICT, json=BODY).status_code == 200
    body_answers = [answer_of(connection) for connection in slow[::2]]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in body_answers)
    assert [answer_of(connection) for connection in slow[1::2]] == [b""] * 10
    for connection in slow:
        connection.close()


def test_a_worker_that_dies_is_replaced_and_counts_are_added_up(models, start):
    server = start(models, "--workers", 2)

    def ask(count):
        done = 0
        while done < count:  # a connection of the worker that is being killed may break
            with (
                contextlib.suppress(httpx.HTTPError),
                httpx.Client(base_url=server.address, trust_env=False) as client,
            ):
                done += client.post(PREDICT, json=BODY).status_code == 200

    def until(holds):
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)

    def counted():
        with httpx.Client(base_url=server.address, trust_env=False) as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith("tastemaker_requests_total") and 'status="200"' in line and ":predict" in line
        )

    ask(20)
    until(lambda: counted() >= 20)  # an answer is counted just after it was sent
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: set(server.workers()) != set(before) and len(server.workers()) == 2)
    ask(20)
    until(lambda: counted() >= 40)
    assert server.stop() == 0


def test_workers_end_when_their_parent_is_killed(models, start):
    server = start(models, "--workers", 2)
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def shared_memory(processes: list[int]) -> int:
    """Return the bytes that some processes hold together, each shared page counted once in all."""
    lines = [Path(f"/proc/{process}/smaps_rollup").read_text().splitlines() for process in processes]
    return 1024 * sum(int(line.split()[1]) for found in lines for line in found if line.startswith("Pss:"))


def test_four_workers_share_their_memory(models, start):
    def used(workers):
        server = start(models, "--workers", workers)
        for _ in range(8 * workers):
            with httpx.Client(base_url=server.address, trust_env=False) as client:
                client.post(PREDICT, json=BODY)
        held = shared_memory({*server.workers(), server.process.pid})
        server.stop()
        return held

    one, four = used(1), used(4)
    assert four < 1.5 * one + 4 * 80 * 2**20


def test_a_second_version_costs_little_memory_of_its_own(start, tmp_path):
    models = tmp_path / "models"
    large = make_model(1, products=400_000)
    save(large, models / "recommender" / "1")
    server = start(models, "--quiet")

    def own_memory():
        lines = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

    def ask(version):
        path = f"/v1/models/recommender/versions/{version}:predict"
        return server.client.post(path, json=BODY).status_code

    assert ask(1) == 200
    before = own_memory()
    versions = range(2, 6)
    for version in versions:
        save(large, models / "recommender" / str(version))
    end = time.monotonic() + 30
    while {ask(version) for version in versions} != {200}:
        assert time.monotonic() < end
        time.sleep(0.1)
    # its vectors, and the same packed, are mapped from files: neither is in memory that belongs to the process
    assert (own_memory() - before) / len(versions) < large.product_vectors.nbytes


def test_nothing_stays_behind(models, start, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    server = start(models, "--workers", 2)
    assert [path.name.startswith("tastemaker-serve-") for path in scratch.iterdir()] == [True]
    server.process.kill()
    server.process.wait()
    server = start(models)
    assert len(list(scratch.iterdir())) == 1
    server.stop()
    assert list(scratch.iterdir()) == []


# What keeps a server from starting: one sentence, exit 1


def test_what_keeps_a_server_from_starting_is_said_in_one_sentence(tastemaker, models, tmp_path):
    broken = tmp_path / "broken"
    save(make_model(1), broken / "recommender" / "1")
    (broken / "recommender" / "1" / "users.arrow").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    file = tmp_path / "keys.json"
    new_key(file, "read")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = [
            ([tmp_path / "nothing"], "does not exist"),
            ([tmp_path / "empty"], "holds no model"),
            ([file], "is a file"),
            ([broken, "--port", 0], "can be served"),
            ([broken, "--port", 0, "--workers", 2], "can be served"),
            ([models, "--port", taken.getsockname()[1]], "choose another --port"),
            ([models, "--host", "0.0.0.0"], "there are no API keys"),
            ([models, "--host", "::"], "there are no API keys"),
            ([models, "--host", "no.such.host.invalid", "--keys", file], "is not an address"),
            ([models, "--keys", tmp_path / "none.json"], "there is no keys file"),
            ([models, "--poll", "nan"], "poll_seconds"),
        ]
        for arguments, sentence in cases:
            ran = tastemaker("serve", *arguments)
            last = ran.stderr.splitlines()[-1]
            assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
            assert last.startswith("tastemaker: ")
            assert sentence in last
            assert "Traceback" not in ran.stderr


def test_a_public_address_is_served_with_keys_or_on_request(models, start, tmp_path):
    file = tmp_path / "keys.json"
    new_key(file, "read")
    for options in (["--keys", file], ["--insecure"], ["--without-keys"]):
        server = start(models, "--host", "0.0.0.0", *options)
        assert server.announced.startswith("Serving recommender/1 at http://0.0.0.0:")
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"http://127.0.0.1:{server.port}/livez").status_code == 200
        server.stop()


def test_a_server_that_nobody_can_send_purchases_to_says_so(models, start, tmp_path):
    server = start(models, "--events", tmp_path / "events.db")
    assert "without --keys nobody can send purchases" in server.log.read_text()
    server.stop()


def test_many_threads_of_clients_get_their_own_answers(models, start):
    server = start(models, "--workers", 2, "--quiet")
    wrong = []

    def ask(first):
        with httpx.Client(base_url=server.address, timeout=20, trust_env=False) as client:
            for row in range(first, 160, 8):
                body = {
                    "signature_name": "similar_products",
                    "inputs": {"product": product_id(row), "k": 1, "include_self": True},
                }
                again = [client.post(PREDICT, json=body).json() for _ in range(2)]
                if again[0] != again[1] or len(again[0]["outputs"]["product_ids"]) != 1:
                    wrong.append(row)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
