"""Three servers and one PostgreSQL under load, servers and database killed again and again, the database away for a minute.

Purchases and outcomes: acknowledged, lost, kept twice. Bans, removed keys, experiments started and stopped: how long a host went by
what was before. Needs PostgreSQL's programs; makes its own database, models and keys. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS / "databases"), str(TESTS / "serving")]

from api_worlds import ApiWorld, api_world  # noqa: E402
from database_servers import Crashing, free_port, postgresql_that_crashes  # noqa: E402
from serving_worlds import make_model, product_id  # noqa: E402

from tastemaker.data.databases.address import address_of  # noqa: E402
from tastemaker.data.databases.held import Held, rows  # noqa: E402
from tastemaker.errors import TastemakerError  # noqa: E402
from tastemaker.model.folder import save  # noqa: E402
from tastemaker.serving.answering.event_store import read_events  # noqa: E402
from tastemaker.serving.front.api_keys import new_key, read_keys, remove_key  # noqa: E402
from tastemaker.serving.measuring.experiments import (  # noqa: E402
    Experiment,
    change_experiments,
    ended,
    started,
)
from tastemaker.serving.models.labels import change_labels  # noqa: E402
from tastemaker.serving.shared.shared_documents import SharedDocuments, only_asked  # noqa: E402

LIST = "/api/v1/recommendations/users/u003?k=160"
SECOND = 1.0
WATCHED = 1.3
"""Seconds after a change in which every host is asked for it without a pause, and longer until it has followed"""
RECOVERY = 3.0
"""Seconds after the database is back in which a host may not have noticed"""


@dataclass
class Host:
    """One server, which is started again on its port after it was killed."""

    number: int
    command: list[str]
    port: int
    process: subprocess.Popen[str] | None = None
    purchases: set[str] = field(default_factory=set)
    """Those acknowledged, as are the outcomes"""
    outcomes: set[str] = field(default_factory=set)
    posted: Counter[int] = field(default_factory=Counter)
    """Answers to posts by their status; 0 is none"""
    lists: Counter[int] = field(default_factory=Counter)

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
        with self.process:  # which closes the pipe
            pass

    def ask(self, path: str, key: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Return the status and the answer to a GET or a POST; 0 where there is none."""
        return self.send("GET" if body is None else "POST", path, key, body, **headers)

    def send(self, method: str, path: str, key: str, body: object, **headers: str) -> tuple[int, Any]:
        """Return the status of a request and its answer, where that is 200; 0 where there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError, http.client.HTTPException):
            return 0, None


@dataclass
class Change:
    """One change that all hosts must follow."""

    what: str
    at: float
    """When it was acknowledged, by the monotonic clock"""
    late: float
    """So long after it the last answer was asked for that went by what was before"""


@dataclass
class Found:
    """What a run found."""

    hosts: list[Host]
    lost: dict[str, int]
    """Acknowledged and not there: ``purchases`` on any host, ``outcomes`` in the database"""
    twice: dict[str, int]
    equal: bool
    """Whether the three copies are"""
    events: int
    changes: list[Change]
    away: list[tuple[float, float]]
    """From when until when the database was away"""
    minute: Counter[int]
    """Lists in the long absence by their status, as are the posts in it"""
    minute_posts: Counter[int]
    killed: tuple[int, int]
    """Servers, and times the database"""

    def was_away(self, change: Change) -> bool:
        """Return whether the database was away, or had just come back, in the second after a change."""
        return any(begin < change.at + SECOND and change.at < end + RECOVERY for begin, end in self.away)


# Load ---------------------------------------------------------------------------------------------------------


def buy(host: Host, key: str, over: threading.Event) -> None:
    """Post purchases one after the other, each until it is acknowledged, under one idempotency key."""
    number = 0
    while not over.is_set():
        name = f"h{host.number}-{number}"
        body = {"purchases": [{"user": name, "product": "1000"}]}
        status, _ = host.ask("/api/v1/events", key, body, **{"Idempotency-Key": name})
        number += _told(host, status, host.purchases, name)


def tell(host: Host, key: str, over: threading.Event) -> None:
    """Post outcomes in the same way: every other one with a time of its own in the place of an idempotency key."""
    number = 0
    while not over.is_set():
        name = f"o{host.number}-{number}"
        outcome: dict[str, object] = {"user": name, "kind": "bought", "product": "1000", "price": 9.95}
        header = {"Idempotency-Key": name}
        if number % 2:
            outcome, header = {**outcome, "time": 1_700_000_000 + number}, {}
        status, _ = host.ask("/api/v1/outcomes", key, {"outcomes": [outcome]}, **header)
        number += _told(host, status, host.outcomes, name)


def _told(host: Host, status: int, into: set[str], name: str) -> bool:
    host.posted[status] += 1
    if status == 200:
        into.add(name)
        return True
    time.sleep(0.05)
    return False


def read(host: Host, key: str, over: threading.Event) -> None:
    """Ask for lists."""
    while not over.is_set():
        host.lists[host.ask("/api/v1/recommendations/users/u003", key)[0]] += 1
        time.sleep(0.02)


# Changes ------------------------------------------------------------------------------------------------------


def late_answers(hosts: list[Host], key: str, stale: Callable[[int, Any], bool], at: float) -> float:
    """Return how long after ``at`` the last request was sent whose answer went by what was before; 0 for none.

    Every host is asked again and again until it has followed, and for some time at least: its workers follow one by one.
    """

    def last_of(host: Host) -> float:
        last, fresh = 0.0, False
        while time.monotonic() < at + WATCHED or not fresh:
            sent = time.monotonic()
            status, answer = host.ask(LIST, key)
            if status in (200, 401):
                fresh = not stale(status, answer)
                last = last if fresh else sent - at
            if time.monotonic() > at + 300:
                return 300.0
        return last

    with ThreadPoolExecutor(len(hosts)) as pool:
        return max(pool.map(last_of, hosts))


def changing(hosts: list[Host], key: str, uri: str, over: threading.Event, into: list[Change]) -> None:
    """Publish a ban, remove a key, start an experiment and stop it, and see what each host does, until it is over."""
    number = 0
    while not over.is_set():
        for change in (_ban, _removed_key, _experiment, _stop):
            with contextlib.suppress(TastemakerError):  # the database is away: the next round tries again
                made = None if over.is_set() else change(hosts, key, uri, number)
                if made is not None:
                    into.append(made)
        number += 1


def _ban(hosts: list[Host], key: str, uri: str, number: int) -> Change | None:
    banned = product_id(20 + number % 100)
    status, _ = hosts[number % 3].send("PUT", "/api/v1/rules", key, {"deny": [banned]})
    at = time.monotonic()
    if status != 200:
        time.sleep(0.2)
        return None

    def stale(status: int, answer: Any) -> bool:
        return status == 200 and banned in {one["product"] for one in answer["recommendations"]}

    return Change("a ban", at, late_answers(hosts, key, stale, at))


def _removed_key(hosts: list[Host], key: str, uri: str, number: int) -> Change:
    with only_asked(uri) as home:
        _, text = new_key(home.keys_file, "read", home=home)
        name = read_keys(home.keys_file).find(text).name
        while not all(host.ask(LIST, text)[0] == 200 for host in hosts):
            time.sleep(0.05)
        remove_key(home.keys_file, name, home=home)
        at = time.monotonic()
    return Change("a removed key", at, late_answers(hosts, text, lambda status, _: status == 200, at))


def _experiment(hosts: list[Host], key: str, uri: str, number: int) -> Change:
    one = Experiment(
        name=f"e{number}-{secrets.token_hex(3)}", control="stable", treatment="canary", versions=(1, 2), share=50,
        holdout=0, salt=str(number), metric="conversion", visitors=1_000, window=1_000_000, began=time.time_ns() // 1000,
    )  # fmt: skip
    with _of_model(uri) as (home, place):
        change_experiments(place, lambda before: started(before, one), home=home)
        at = time.monotonic()

    def stale(status: int, answer: Any) -> bool:
        return status == 200 and answer.get("experiment") != one.name

    return Change("an experiment started", at, late_answers(hosts, key, stale, at))


def _stop(hosts: list[Host], key: str, uri: str, number: int) -> Change | None:
    running: list[str] = []

    def stopped(before: tuple[Experiment, ...]) -> tuple[Experiment, ...]:
        running[:] = [one.name for one in before if one.ended is None]
        now = time.time_ns() // 1000
        return ended(before, running[0], at=now, why="stopped") if running else before

    with _of_model(uri) as (home, place):
        change_experiments(place, stopped, home=home)
        at = time.monotonic()
    if not running:
        return None

    def stale(status: int, answer: Any) -> bool:
        return status == 200 and "arm" in answer

    return Change("an experiment stopped", at, late_answers(hosts, key, stale, at))


@contextlib.contextmanager
def _of_model(uri: str) -> Iterator[tuple[SharedDocuments, Path]]:
    with only_asked(uri) as home:
        yield home, home.folder("recommender", Path("/nowhere"))


# The run ------------------------------------------------------------------------------------------------------


def measured(folder: Path, database: Crashing, *, seconds: float, away: float, workers: int) -> Found:
    """Start three servers, put them under load, kill what there is, keep the database away for a time, and count."""
    world = api_world(folder)
    save(make_model(2), world.settings.models / "recommender" / "2")
    hosts = [_host(number, world, database.uri, workers) for number in range(3)]
    with contextlib.ExitStack() as stack:
        hosts[0].start()
        stack.callback(hosts[0].kill)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Host.start, hosts[1:]))
        for host in hosts[1:]:
            stack.callback(host.kill)
        _promote(hosts, world.key, database.uri)
        found = _under_load(hosts, world.key, database, seconds, away)
        _wait_until_equal(folder, database.uri)
    _count(found, folder, database.uri)
    return found


def _host(number: int, world: ApiWorld, uri: str, workers: int) -> Host:
    port, settings = free_port(), world.settings
    command = [
        sys.executable, "-m", "tastemaker", "serve", settings.models, "--port", port, "--keys", settings.keys,
        "--workers", workers, "--events", world.folder / f"copy{number}.db", "--state", uri, "--quiet",
    ]  # fmt: skip
    return Host(number, list(map(str, command)), port)


def _promote(hosts: list[Host], key: str, uri: str) -> None:
    with _of_model(uri) as (home, place):
        for label, version in (("stable", 1), ("canary", 2)):
            change_labels(place, lambda labels, at=(label, version): labels.moved(*at), home=home)
    for host in hosts:
        while host.ask(f"{LIST}&label=canary", key)[0] != 200:
            time.sleep(0.05)


def _under_load(hosts: list[Host], key: str, database: Crashing, seconds: float, away: float) -> Found:
    found = Found(hosts, {}, {}, False, 0, [], [], Counter(), Counter(), (0, 0))
    over = threading.Event()
    threads = [
        threading.Thread(target=work, args=(host, key, over)) for host in hosts for work in (buy, tell, read)
    ]
    threads.append(threading.Thread(target=changing, args=(hosts, key, database.uri, over, found.changes)))
    for thread in threads:
        thread.start()
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        time.sleep(min(6.0, seconds / 2))
        if turn % 2:
            _without(database, 1.5, found.away)
        else:
            host = hosts[(turn // 2) % 3]
            host.kill()
            host.start()
        turn += 1
    before = _answers(hosts)
    _without(database, away, found.away)
    after = _answers(hosts)
    found.minute, found.minute_posts = after[0] - before[0], after[1] - before[1]
    time.sleep(min(6.0, seconds / 2))
    over.set()
    for thread in threads:
        thread.join()
    found.killed = (turn + 1) // 2, turn // 2
    return found


def _without(database: Crashing, seconds: float, into: list[tuple[float, float]]) -> None:
    begin = time.monotonic()
    database.crash()
    time.sleep(seconds)
    database.start()
    into.append((begin, time.monotonic()))


def _answers(hosts: list[Host]) -> tuple[Counter[int], Counter[int]]:
    return sum((host.lists for host in hosts), Counter()), sum((host.posted for host in hosts), Counter())


def _wait_until_equal(folder: Path, uri: str) -> None:
    """Wait until each copy has the last event of the database, for half a minute at most."""
    with contextlib.closing(Held(address_of(uri))) as held, held.transaction() as cursor:
        last = rows(cursor, "SELECT max(number) FROM tastemaker_events")[0][0]
    until = time.monotonic() + 30
    for number in range(3):
        while last not in read_events(folder / f"copy{number}.db")["number"] and time.monotonic() < until:
            time.sleep(0.1)


def _count(found: Found, folder: Path, uri: str) -> None:
    copies = [read_events(folder / f"copy{number}.db") for number in range(3)]
    with contextlib.closing(Held(address_of(uri))) as held, held.transaction() as cursor:
        told = [user for (user,) in rows(cursor, "SELECT user_id FROM tastemaker_outcomes")]
    bought = [[user for user in copy["user_id"].to_list() if user.startswith("h")] for copy in copies]
    acknowledged = set().union(*(host.purchases for host in found.hosts))
    found.lost = {
        "purchases": max(len(acknowledged - set(users)) for users in bought),
        "outcomes": len(set().union(*(host.outcomes for host in found.hosts)) - set(told)),
    }
    found.twice = {
        "purchases": max(len(users) - len(set(users)) for users in bought),
        "outcomes": len(told) - len(set(told)),
    }
    found.equal = all(copy.equals(copies[0]) for copy in copies)
    found.events = len(copies[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120, help="how long servers and database are killed in turn"
    )
    parser.add_argument("--away", type=float, default=60, help="how long the database is then away")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgresql_that_crashes() as database:
        found = measured(
            Path(folder), database, seconds=asked.seconds, away=asked.away, workers=asked.workers
        )
    print(
        f"{asked.seconds:g} seconds; killed: {found.killed[0]} servers (SIGKILL), {found.killed[1]} times the database; "
        f"then the database was away for {asked.away:g} seconds.\n"
    )
    _show_writes(found)
    _show_changes(found)


def _show_writes(found: Found) -> None:
    print("| | acknowledged by host 1, 2, 3 | lost | kept twice |\n|---|--:|--:|--:|")
    for what in ("purchases", "outcomes"):
        counts = ", ".join(f"{len(getattr(host, what)):,}" for host in found.hosts)
        print(f"| {what} | {counts} | {found.lost[what]} | {found.twice[what]} |")
    lists, posts = _answers(found.hosts)
    print(f"\nLists: {_counts(lists)}. Posts: {_counts(posts)}.")
    print(f"In the long absence: lists {_counts(found.minute)}; posts {_counts(found.minute_posts)}.")
    print(f"The three copies are {'equal' if found.equal else 'NOT equal'}: {found.events:,} events.\n")


def _counts(statuses: Counter[int]) -> str:
    return ", ".join(
        f"{count:,} {'unanswered' if status == 0 else status}"
        for status, count in sorted(statuses.items(), reverse=True)
    )


def _show_changes(found: Found) -> None:
    print(
        "| change | times | longest until all hosts followed | later than a second | while the database was away: times, longest |"
    )
    print("|---|--:|--:|--:|--:|")
    for what in dict.fromkeys(change.what for change in found.changes):
        own = [change for change in found.changes if change.what == what]
        there = [change.late for change in own if not found.was_away(change)]
        gone = [change.late for change in own if found.was_away(change)]
        slow = sum(late > SECOND for late in there)
        print(
            f"| {what} | {len(there)} | {max(there, default=0) * 1000:.0f} ms | {slow} "
            f"| {len(gone)}, {max(gone, default=0) * 1000:.0f} ms |"
        )


if __name__ == "__main__":
    main()
