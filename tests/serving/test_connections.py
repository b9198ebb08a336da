"""Connections: too many of them, bodies that are too long, and an end without a lost request."""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from serving_worlds import client_of, make_model, product_id

from tastemaker.errors import SettingProblem
from tastemaker.model.folder import save
from tastemaker.serving.connections.descriptors import affordable_connections, raise_the_limit
from tastemaker.serving.connections.door import Door
from tastemaker.serving.connections.web_server import _Outlet
from tastemaker.serving.front.logs import OnceASecond
from tastemaker.serving.front.proxies import client_of as client_named
from tastemaker.serving.front.proxies import trusts
from tastemaker.serving.front.settings import Settings

PREDICT = "/v1/models/recommender:predict"
BODY = json.dumps({"inputs": product_id(3)}).encode()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(make_model(1), folder / "recommender" / "1")
    return folder


@pytest.fixture(scope="module")
def live(models, tmp_path_factory):
    from serving_worlds import serving

    with serving(models, tmp_path_factory.mktemp("log") / "serve.log", "--timeout", 5) as server:
        yield server
        assert [line for line in server.log.read_text().splitlines() if "Traceback" in line] == []


# Who may come ---------------------------------------------------------------------------------------------


class Guest:
    def __init__(self, address="a"):
        self.address, self.surplus, self.ended = address, False, False

    def end(self):
        self.ended = True


def test_the_longest_silent_makes_room_first_of_those_that_never_asked():
    door = Door(3, 3, unlimited=lambda _: False)
    rested, first, second = Guest(), Guest(), Guest()
    for guest in (rested, first, second):
        door.comes(guest)
    door.asks(rested)
    door.rests(rested)
    newcomers = [Guest() for _ in range(4)]
    for newcomer in newcomers[:2]:
        door.comes(newcomer)
        door.asks(newcomer)
    assert [guest.ended for guest in (first, second, rested)] == [True, True, False]
    door.comes(newcomers[2])
    door.asks(newcomers[2])
    assert rested.ended
    door.comes(newcomers[3])  # all others are being answered
    assert [one.surplus for one in newcomers] == [False, False, False, True]


def test_one_address_cannot_take_the_place_of_others():
    door = Door(10, 2, unlimited=lambda address: address == "proxy")
    greedy = [Guest("greedy") for _ in range(5)]
    for guest in greedy:
        door.comes(guest)
    assert [guest.ended for guest in greedy] == [True, True, True, False, False]
    other, proxied = Guest("other"), [Guest("proxy") for _ in range(4)]
    for guest in (other, *proxied):
        door.comes(guest)
    assert not any(guest.ended or guest.surplus for guest in (other, *proxied))
    for guest in (*greedy, other, *proxied):
        door.goes(guest)
    assert (door.count, dict(door._of), door._silent, door._resting) == (0, {}, {}, {})


def test_a_process_affords_fewer_connections_than_it_may_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        assert 200 < affordable_connections(100_000) < 512 - 128
        assert affordable_connections(50) == 50
        assert raise_the_limit() == min(hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_probes_and_lists_answer_while_others_hold_more_connections_than_there_may_be(models, tmp_path):
    command = [sys.executable, "-m", "tastemaker", "serve", str(models), "--port", "0", "--quiet"]
    few = f"ulimit -n 400; exec {' '.join(command)}"
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(["bash", "-c", few], stdout=subprocess.PIPE, stderr=log, text=True)
    held = []
    try:
        port = int(server.stdout.readline().split()[-1].rpartition(":")[2])
        for _ in range(500):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        for _ in range(5):
            assert ask(port, "GET", "/livez")[0] == 200
            assert ask(port, "POST", PREDICT, BODY)[0] == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        for connection in held:
            connection.close()
        server.kill()
        server.wait()
        server.stdout.close()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert said.count("too many connections") < 30


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_same_warning_is_logged_once_a_second_and_says_how_often_it_came():
    now = 10.0
    once = OnceASecond(clock=lambda: now)

    def passes(text, level=logging.WARNING):
        record = logging.LogRecord("x", level, "", 0, text, None, None)
        return once.filter(record), getattr(record, "facts", {}).get("repeated")

    assert [passes("fault"), passes("fault"), passes("fault"), passes("other")] == [
        (True, None), (False, None), (False, None), (True, None),
    ]  # fmt: skip
    assert passes("told", logging.INFO) == passes("told", logging.INFO) == (True, None)
    now = 11.0
    assert passes("fault") == (True, 2)


# What they send -------------------------------------------------------------------------------------------


def test_a_refusal_of_a_long_body_reaches_every_client(live):
    long = b"x" * (8 << 20)
    for _ in range(10):
        status, body = ask(live.port, "POST", PREDICT, long)
        assert (status, b"longer than" in body) == (413, True)
    parts = (b"x" * (1 << 16) for _ in range(64))
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
    connection.request("POST", PREDICT, parts, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 413
    connection.close()


def test_clients_that_go_in_the_middle_of_a_refusal_leave_no_error(live):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {8 << 20}\r\n\r\n"
    for pause in [0, 0.001, 0.002, 0.005] * 5:
        connection = socket.create_connection(("127.0.0.1", live.port), timeout=20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(head.encode() + b"x" * 100_000)
        time.sleep(pause)
        connection.close()  # with a reset
    assert ask(live.port, "GET", "/livez")[0] == 200  # and the log holds no traceback: see the fixture


def test_an_answer_is_sent_in_one_piece(live):
    asked = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        for method in ("GET", "HEAD", "GET"):
            connection.sendall(asked.replace("GET", method).encode())
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            assert length > 0
            assert len(body) == (0 if method == "HEAD" else length)


def test_a_head_without_a_body_is_sent_when_the_connection_closes():
    class Transport:
        def __init__(self):
            self.sent = []

        def write(self, data):
            self.sent.append(data)

    class Ends:
        def linger(self):
            transport.sent.append("closed")

    transport = Transport()
    outlet = _Outlet(Ends(), transport)
    outlet.write(b"100 continue")
    outlet.hold()
    outlet.write(b"head ")
    assert transport.sent == [b"100 continue"]
    outlet.write(b"body")
    outlet.write(b"more")
    assert transport.sent == [b"100 continue", b"head body", b"more"]
    outlet.hold()
    outlet.write(b"head alone")
    outlet.close()
    outlet.close()
    assert transport.sent[3:] == [b"head alone", "closed", "closed"]


def test_a_length_and_a_transfer_encoding_are_refused_together_and_the_connection_ends(live):
    smuggled = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {5 + len(smuggled)}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall(head.encode() + smuggled)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def test_only_a_trusted_proxy_says_who_asks():
    trusted = trusts(["10.0.0.0/8", "::1"])
    assert client_named("9.9.9.9", [b"1.1.1.1"], trusted) == "9.9.9.9"
    assert client_named("10.0.0.1", [b"6.6.6.6, 1.1.1.1, 10.9.9.9"], trusted) == "1.1.1.1"
    assert client_named("::1", [b"6.6.6.6", b"2.2.2.2"], trusted) == "2.2.2.2"
    assert client_named("10.0.0.1", [b"1.1.1.1, nonsense"], trusted) == "10.0.0.1"
    assert client_named("10.0.0.1", [b""], trusted) == "10.0.0.1"
    assert client_named("10.0.0.1", [], trusted) == "10.0.0.1"
    assert client_named("10.0.0.1", [b"1.1.1.1," * 10_000 + b"3.3.3.3"], trusted) == "3.3.3.3"
    assert client_named("10.0.0.1", [b"10.0.0.2," * 10_000 + b"10.0.0.3"], trusted).startswith("10.0.0.")
    with pytest.raises(SettingProblem, match="no address of a proxy"):
        Settings(models=Path(), trusted_proxies=("proxy.example",))


def test_rotating_the_header_escapes_no_rate(models):
    with client_of(models, requests_per_second=0.001, burst=3) as client:
        found = [
            client.get("/livez", headers={"X-Forwarded-For": f"1.1.1.{number}"}).status_code
            for number in range(6)
        ]
    assert found == [200, 200, 200, 429, 429, 429]


# How they end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_termination_under_load_loses_no_request(models, start, workers):
    server = start(models, "--workers", workers, "--quiet")
    lost, answered, stop = [], itertools.count(), threading.Event()

    def load(reuses):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        while not stop.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except (ConnectionRefusedError, TimeoutError):
                return  # the server has gone, and was asked nothing
            try:
                connection.request("POST", PREDICT, BODY)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    lost.append(answer.status)
                next(answered)
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return
            if not reuses:
                connection.close()

    threads = [threading.Thread(target=load, args=(number % 2 == 0,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    os.kill(server.process.pid, signal.SIGTERM)
    code = server.process.wait(timeout=40)
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert (lost, code) == ([], 0)
    assert next(answered) > 50


def predictions(server):
    """Return how many predictions the server has counted; a connection each, so that none is of a worker that died."""
    _, text = ask(server.port, "GET", "/metrics")
    lines = [line for line in text.decode().splitlines() if line.startswith("tastemaker_requests_total")]
    return sum(float(line.split()[-1]) for line in lines if "predict" in line and "200" in line)


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_dead_workers_counted_stays_counted_in_one_file_each(models, start):
    server = start(models, "--workers", 2)
    for _ in range(20):
        assert ask(server.port, "POST", PREDICT, BODY)[0] == 200
    until(lambda: predictions(server) == 20)  # an answer is counted just after it was sent
    folder = next(Path(tempfile.gettempdir()).glob(f"tastemaker-serve-{server.process.pid}-*")) / "metrics"
    for _ in range(3):
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(
            lambda victim=victim: (
                victim not in server.workers()
                and len(server.workers()) == 2
                and not list(folder.glob(f"*_{victim}.db"))
            )
        )
    numbers = {int(file.stem.rpartition("_")[2]) for file in folder.glob("*.db")}
    assert numbers <= {0, *server.workers()}
    assert predictions(server) == 20
