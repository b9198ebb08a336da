"""Three servers and one PostgreSQL under load, servers and database killed again and again: acknowledged, lost, kept twice.

Needs PostgreSQL's programs; makes its own database, model and keys. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS / "databases"), str(TESTS / "serving")]

from api_worlds import api_world  # noqa: E402
from database_servers import free_port, postgresql_that_crashes  # noqa: E402

from tastemaker.serving.answering.event_store import read_events  # noqa: E402


@dataclass
class Host:
    """One server, which is started again on its port after it was killed."""

    number: int
    command: list[str]
    port: int
    process: subprocess.Popen[str] | None = None
    acknowledged: set[str] = field(default_factory=set)
    answers: dict[str, int] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        """Start the server and wait until it serves."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("Serving"), "the server did not start"

    def kill(self) -> None:
        """End the server and its workers with SIGKILL."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, key: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer; 0 where there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except OSError:
            return 0, b""


def buy(host: Host, key: str, ended: threading.Event) -> None:
    """Post purchases one after the other, each until it is acknowledged, under one idempotency key."""
    number = 0
    while not ended.is_set():
        name = f"h{host.number}-{number}"
        body = {"purchases": [{"user": name, "product": "1000"}]}
        status, _ = host.ask("/api/v1/events", key, body, **{"Idempotency-Key": name})
        count(host.answers, status)
        if status == 200:
            host.acknowledged.add(name)
            number += 1
        else:
            time.sleep(0.05)


def read(host: Host, key: str, ended: threading.Event) -> None:
    """Ask for lists."""
    while not ended.is_set():
        status, _ = host.ask("/api/v1/recommendations/users/u003", key)
        count(host.lists, status)
        time.sleep(0.02)


def count(into: dict[str, int], status: int) -> None:
    name = str(status) if status else "no answer"
    into[name] = into.get(name, 0) + 1


def delays(hosts: list[Host], key: str, times: int) -> list[float]:
    """Return the seconds from an acknowledged purchase on one host until another host has it."""
    found = []
    for number in range(times):
        a, b = hosts[number % 3], hosts[(number + 1) % 3]
        user = f"probe-{number}"
        a.ask("/api/v1/events", key, {"purchases": [{"user": user, "product": "1000"}]})
        began = time.monotonic()
        while b.ask(f"/api/v1/users/{user}/history", key)[0] != 200:
            time.sleep(0.005)
        found.append(time.monotonic() - began)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=40)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, postgresql_that_crashes() as database:
        world = api_world(Path(folder))
        hosts = [host_of(number, world, database.uri, Path(folder)) for number in range(3)]
        with contextlib.ExitStack() as stack:
            for host in hosts:
                host.start()
                stack.callback(host.kill)
            late = delays(hosts, world.key, 100)
            kills = under_load(hosts, world.key, database, seconds)
            time.sleep(3)  # they catch up
            kept = [read_events(Path(folder) / f"copy{n}.db") for n in range(3)]
    print(f"{seconds} seconds; killed: {kills[0]} servers (SIGKILL), {kills[1]} times the database.\n")
    print(
        "| host | acknowledged | lost | kept twice | purchases refused (503), unanswered | lists answered, refused, unanswered |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for host, frame in zip(hosts, kept, strict=True):
        users = [one for one in frame["user_id"].to_list() if one.startswith("h")]
        own = [one for one in users if one.startswith(f"h{host.number}-")]
        lost = len({one for every in hosts for one in every.acknowledged} - set(users))
        refused = sum(n for status, n in host.lists.items() if status not in ("200", "no answer"))
        print(
            f"| {host.number + 1} | {len(host.acknowledged):,} | {lost} | {len(own) - len(set(own))} "
            f"| {host.answers.get('503', 0)}, {host.answers.get('no answer', 0)} "
            f"| {host.lists.get('200', 0):,}, {refused}, {host.lists.get('no answer', 0)} |"
        )
    same = all(frame.equals(kept[0]) for frame in kept)
    print(f"\nThe three copies are {'equal' if same else 'NOT equal'}: {len(kept[0]):,} events.")
    print(
        f"From acknowledged to known on another host: median {late[50] * 1000:.0f} ms, longest of 100 {late[-1] * 1000:.0f} ms."
    )


def host_of(number: int, world: object, uri: str, folder: Path) -> Host:
    port = free_port()
    command = [
        sys.executable, "-m", "tastemaker", "serve", world.settings.models, "--port", port, "--keys", world.settings.keys,
        "--workers", 2, "--events", folder / f"copy{number}.db", "--state", uri, "--quiet",
    ]  # fmt: skip
    return Host(number, list(map(str, command)), port)


def under_load(hosts: list[Host], key: str, database: object, seconds: int) -> tuple[int, int]:
    """Let all hosts be asked while a server or the database is killed every few seconds; return how many of each were."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=work, args=(host, key, ended)) for host in hosts for work in (buy, read)
    ]
    for thread in threads:
        thread.start()
    until, turn, killed = time.monotonic() + seconds, 0, [0, 0]
    while time.monotonic() < until:
        time.sleep(2)
        if turn % 2:
            database.crash()
            time.sleep(1.5)
            database.start()
        else:
            host = hosts[(turn // 2) % 3]
            host.kill()
            host.start()
        killed[turn % 2] += 1
        turn += 1
    ended.set()
    for thread in threads:
        thread.join()
    return killed[0], killed[1]


if __name__ == "__main__":
    main()
