"""The end of a server whose time is over before everything is answered: what is cut off is told, logged and counted."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving_worlds import Server, environment, make_model, product_id

from tastemaker.model.folder import save

PREDICT = "/v1/models/recommender:predict"
BODY = json.dumps({"inputs": product_id(3)}).encode()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(make_model(1), folder / "recommender" / "1")
    return folder


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


IMPATIENT = """
import sys
from pathlib import Path
from tastemaker.serving.front.logs import log_in_json
from tastemaker.serving.front.settings import Settings
from tastemaker.serving.server import serve

log_in_json()
settings = Settings(models=Path(sys.argv[1]), workers=int(sys.argv[2]), port=0, drain_seconds=0.5, body_seconds=60, seconds=60)
print(serve(settings, lambda address, _: print(address, flush=True)))
"""


def half_requests(port, count):
    """Ask, but keep the last byte of each body back: these requests run until it comes."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n"
    connections = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]
    for connection in connections:
        connection.sendall(head.encode() + BODY[:-1])
    time.sleep(0.5)
    return connections


def last_words(connections):
    """Return what was answered on each until its end."""
    said = []
    for connection in connections:
        with connection, contextlib.suppress(ConnectionResetError):
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
            said.append(b"".join(parts))
    return said


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_are_cut_off_are_told_logged_and_counted(models, tmp_path, workers):
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, models, str(workers)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
    port = int(process.stdout.readline().rpartition(":")[2])
    connections = half_requests(port, 6)
    process.send_signal(signal.SIGTERM)
    answers = last_words(connections)
    assert process.wait(timeout=30) == 0
    assert process.stdout.read() == "6 requests were cut off\n"
    process.stdout.close()
    assert len(answers) == 6
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in head.lower()
        assert b"connection: close" in head.lower()
        assert "was not answered in time" in json.loads(body)["error"]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    cut = [line for line in lines if line.get("cut_off")]
    assert [(line["status"], line["route"]) for line in cut] == [(503, "unmatched")] * 6
    assert not any("trace" in line for line in lines)
    assert sum(int(line["message"].split()[0]) for line in lines if "cut off after" in line["message"]) == 6


def test_what_an_ending_worker_cut_off_is_counted_by_those_that_go_on(models, tmp_path):
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, models, "2"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
    port = int(process.stdout.readline().rpartition(":")[2])
    server = Server(process, f"http://127.0.0.1:{port}", "", tmp_path / "log")
    connections = half_requests(port, 8)
    first, second = server.workers()
    for worker in (first, second):
        os.kill(worker, signal.SIGTERM)
        until(lambda ended=worker: ended not in server.workers() and len(server.workers()) == 2)
    answers = last_words(connections)
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 503"] * 8

    def counted():
        text = server.client.get("/metrics").text
        return sum(
            float(value) for value in re.findall(r"^tastemaker_requests_cut_off_total{.*} (\S+)$", text, re.M)
        )

    until(lambda: counted() == 8)
    assert server.stop() == 0
    process.stdout.close()
