"""What must be refused in time: ``python benchmarks/attacks/connections.py``.

More idle connections than there may be files open; bodies over the limit; a length beside a transfer encoding; addresses made up in
``X-Forwarded-For``; a hundred thousand live purchases of one guest; workers that are killed. Prints the counts; exit code 1 if
a probe was not answered, a refusal did not arrive, or a made-up address escaped the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from under_attack import PREDICT, Server, as_json, children_of, new_key, options_of, put_shop, serving, table

Rows = list[tuple[str, object]]
FILES = 1_024
"""Open files that systemd allows by default"""


def main() -> None:
    """Attack with everything; print what came of it."""
    options = options_of(__doc__, seconds=12, idle=1_100, purchases=100_000, deaths=8)
    rows: Rows = []
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, products = put_shop(folder / "models", python=options.python)
        key = new_key(options.python, folder / "keys.json")
        for attack in (hold_idle, send_too_much, smuggle, make_addresses_up, buy_much, kill_workers):
            failed += attack(folder, key, products, options, rows)
    print(table(rows))
    raise SystemExit(failed > 0)


def hold_idle(folder: Path, key: str, products: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Hold more idle connections than there may be files, and ask for the probe meanwhile."""
    held = []
    given = ("--keys", folder / "keys.json")
    log = folder / "idle.log"
    with serving(options.python, folder / "models", log, *given, files=FILES) as server:
        used, end = server.processor_seconds(), time.monotonic() + options.seconds
        answered = late = turned_away = 0
        while time.monotonic() < end:
            while len(held) < options.idle:
                try:
                    held.append(socket.create_connection(("127.0.0.1", server.port), timeout=1))
                except OSError:
                    turned_away += 1
                    break
            try:
                answered += server.ask("GET", "/livez", timeout=2)[0] == 200
            except (OSError, http.client.HTTPException):
                late += 1
            time.sleep(0.2)
        used = server.processor_seconds() - used
        for connection in held:
            connection.close()
        lists = server.ask("POST", PREDICT, as_json({"inputs": products[0]}), X_API_Key=key)[0]
    what = f"{options.idle:,} idle connections, {FILES:,} files, {options.seconds} s"
    rows.append(
        (
            what,
            f"`/livez`: {answered} answers, {late} failures; {used:.1f} s of processor; "
            f"{log.stat().st_size / 1e6:.2f} MB of log; a list afterwards: {lists}",
        )
    )
    return late + (lists != 200)


def send_too_much(folder: Path, key: str, _: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Send 8 MiB forty times with Python's own client; each must read its refusal."""
    found = Counter[str]()
    with serving(
        options.python, folder / "models", folder / "log", "--keys", folder / "keys.json", "--quiet"
    ) as server:
        for _turn in range(40):
            try:
                found[str(server.ask("POST", PREDICT, b"x" * (8 << 20), X_API_Key=key)[0])] += 1
            except (OSError, http.client.HTTPException) as error:
                found[type(error).__name__] += 1
    rows.append(("a body of 8 MiB, 40 times with `http.client`", dict(found)))
    return 40 - found["413"]


def smuggle(folder: Path, key: str, _: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Send a length beside a transfer encoding, and a second request in the body."""
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Length: 60\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    with (
        serving(
            options.python, folder / "models", folder / "log", "--keys", folder / "keys.json", "--quiet"
        ) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
    ):
        connection.sendall(head.encode())
        with contextlib.suppress(TimeoutError):
            answer = b""
            while part := connection.recv(65536):
                answer += part
    answers = answer.count(b"HTTP/1.1 ")
    rows.append(
        (
            "`Content-Length` with `Transfer-Encoding`",
            f"{answer[9:12].decode()}, {answers} answer(s), then closed",
        )
    )
    return answers != 1 or not answer.startswith(b"HTTP/1.1 400")


def make_addresses_up(folder: Path, key: str, _: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Ask with another address in the header each time; then send 4,000 headers of 55 kB."""
    given = ("--rate", "0.01", "--burst", "1", "--quiet")
    with serving(options.python, folder / "models", folder / "log", *given) as server:
        statuses = [
            server.ask("GET", "/v1/models/recommender", X_Forwarded_For=f"10.1.2.{turn}")[0]
            for turn in range(61)
        ]
        before = server.memory()
        for turn in range(4_000):
            server.ask("GET", "/v1/models/recommender", X_Forwarded_For=f"{turn}," + "1" * 55_000)
        grown = server.memory() - before
    escaped = statuses.count(200) - 1
    rows.append(("60 made-up addresses in `X-Forwarded-For` that escaped `--rate`", escaped))
    rows.append(("memory after 4,000 such headers of 55 kB", f"{grown:+.0f} MiB"))
    return escaped


def buy_much(folder: Path, key: str, products: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Send very many live purchases of guests; measure lists, and the probe beside them."""
    given = ("--keys", folder / "keys.json", "--events", folder / "events.sqlite", "--quiet")
    headers = {"X_API_Key": key, "Content_Type": "application/json"}
    path = "/api/v1/recommendations/users/guest"
    with serving(options.python, folder / "models", folder / "log", *given) as server:
        for low in range(0, options.purchases, 250):
            bought = [
                {"user": "guest", "product": products[n % len(products)]} for n in range(low, low + 250)
            ]
            assert server.ask("POST", "/api/v1/events", as_json({"purchases": bought}), **headers)[0] == 200
        alone = [_seconds(lambda: server.ask("GET", path, X_API_Key=key)) for _ in range(20)]
        stop = threading.Event()
        readers = [threading.Thread(target=_read, args=(server, path, key, stop)) for _ in range(4)]
        for reader in readers:
            reader.start()
        probes = [_seconds(lambda: server.ask("GET", "/livez")) for _ in range(50)]
        stop.set()
        for reader in readers:
            reader.join()
        batch = as_json({"signature_name": "recommend_user", "inputs": ["guest"] * 100})
        began = time.monotonic()
        status = server.ask("POST", PREDICT, batch, timeout=60, X_API_Key=key)[0]
        took = time.monotonic() - began
    what = f"one guest with {options.purchases:,} live purchases"
    rows.append((f"{what}: a list, median", f"{statistics.median(alone) * 1e3:.1f} ms"))
    rows.append(("`/livez` beside 4 readers of it, median", f"{statistics.median(probes) * 1e3:.1f} ms"))
    rows.append(("100 of them in one TensorFlow batch", f"{status} after {took:.1f} s"))
    return status != 200


def kill_workers(folder: Path, key: str, _: list[Any], options: argparse.Namespace, rows: Rows) -> int:
    """Kill workers one after another; count the files of counters that stay."""
    with serving(options.python, folder / "models", folder / "log", "--workers", 2, "--quiet") as server:
        found = list(Path(tempfile.gettempdir()).glob(f"tastemaker-serve-{server.process.pid}-*"))
        for _turn in range(options.deaths):
            victim = _workers(server)[0]
            os.kill(victim, signal.SIGKILL)
            _until(lambda victim=victim: victim not in _workers(server) and len(_workers(server)) == 2)
            if options.deaths > 5:
                time.sleep(0.2)
        files = [file for scratch in found for file in scratch.rglob("*.db")]
        server.ask("GET", "/metrics")
    rows.append((f"files of counters after {options.deaths} deaths of workers", len(files)))
    return 0


def _workers(server: Server) -> list[int]:
    found = []
    for child in children_of(server.process.pid):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/comm").read_bytes()
            if b"tryout" not in line and b"neighbour" not in line:
                found.append(child)
    return found


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _read(server: Server, path: str, key: str, stop: threading.Event) -> None:
    while not stop.is_set():
        server.ask("GET", path, X_API_Key=key)


if __name__ == "__main__":
    main()
