"""The commands of the page on backups keep a shop while it is served, and bring it back elsewhere."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from api_worlds import ApiWorld, api_world
from serving_worlds import Server, Start, product_id

from tastemaker.errors import EventsProblem
from tastemaker.serving.answering.event_store import Event, Events, copy_events, read_events

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "backup.md"
EVENTS = "/api/v1/events"


def commands(mark: str) -> str:
    """Return the commands of a part of the page, with this tree's program in the place of the installed one."""
    text = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    program = f"{shlex.quote(sys.executable)} -m tastemaker"
    return re.sub(r"^tastemaker\b", lambda _: program, text, flags=re.MULTILINE)


def do(mark: str, folder: Path) -> None:
    ran = subprocess.run(
        ["sh", "-e", "-c", commands(mark)],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def send(server: Server, world: ApiWorld, number: int) -> int:
    body = {
        "purchases": [{"user": "u004", "product": product_id(20 + number), "time": 1_700_000_000 + number}]
    }
    headers = {**world.headers, "Idempotency-Key": f"order-{number}"}
    answer = server.client.post(EVENTS, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["accepted"] * (not answer.json()["repeated"])


def told(server: Server, world: ApiWorld) -> tuple[object, ...]:
    """Return what a server says of everything that a backup keeps."""
    ask = {"headers": world.headers}
    lists = [
        server.client.get(f"/api/v1/recommendations/users/{user}", **ask).json() for user in ("u001", "u004")
    ]
    return (
        lists,
        server.client.get("/api/v1/rules", **ask).json(),
        server.client.get("/api/v1/rules/history", **ask).json(),
        server.client.get("/api/v1/models", **ask).json(),
        server.client.get(f"{EVENTS}/export", **ask).text,
    )


def of_shop(start: Start, folder: Path) -> Server:
    return start(folder / "models", "--keys", folder / "keys.json", "--events", folder / "events.sqlite")


def test_a_shop_is_backed_up_while_it_is_served_and_comes_back_elsewhere(
    tmp_path: Path, start: Start
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    world = api_world(old)
    server = of_shop(start, old)
    rules = {"deny": [product_id(1)], "pin": [product_id(7)]}
    assert server.client.put("/api/v1/rules", json=rules, headers=world.headers).status_code == 200
    assert [send(server, world, number) for number in range(20)] == [1] * 20
    before = told(server, world)
    stop = threading.Event()

    def go_on() -> None:  # by a second user, whom `told` does not show
        number = 0
        while not stop.is_set():
            number += 1
            body = {"purchases": [{"user": "later", "product": product_id(3)}]}
            server.client.post(EVENTS, json=body, headers=world.headers)

    writer = threading.Thread(target=go_on)
    writer.start()
    do("backup", old)
    stop.set()
    writer.join()
    server.stop()

    new.mkdir()
    (old / "backup").rename(new / "backup")
    for file in ("events.sqlite", "events.sqlite-wal"):
        (new / file).write_bytes(b"what a broken disk left")
    do("restore", new)
    again = of_shop(start, new)
    after = told(again, world)
    assert after[:4] == before[:4]
    assert after[4].startswith(before[4])
    assert sum(send(again, world, number) for number in range(21)) == 1  # 20 are known by their keys


def test_a_copy_holds_what_stands_in_the_write_ahead_log_alone(tmp_path):
    file, copy = tmp_path / "events.db", tmp_path / "copy.db"
    with closing(Events(file)) as store:
        store.add([Event("u", str(number), number) for number in range(50)], key="k", content=b"1")
        assert copy_events(file, copy) == 50
        assert (tmp_path / "events.db-wal").stat().st_size > 0
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith("copy")) == ["copy.db"]
    assert copy.stat().st_mode & 0o077 == 0
    assert read_events(copy).equals(read_events(file))
    with closing(Events(copy)) as restored:
        assert restored.add([Event("u", "0", 0)], key="k", content=b"1") == (50, True)
        assert restored._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_cannot_be_copied_is_said_and_leaves_the_older_copy(tmp_path, tastemaker):
    file, copy = tmp_path / "events.db", tmp_path / "copy.db"
    with closing(Events(file)) as store:
        store.add([Event("u", str(number), number) for number in range(5_000)])
    copy_events(file, copy)
    kept = copy.read_bytes()
    with pytest.raises(EventsProblem, match="is the file of events itself"):
        copy_events(file, file)
    with pytest.raises(EventsProblem, match="there is no file of events"):
        copy_events(tmp_path / "none.db", copy)
    spoilt = bytearray(file.read_bytes())
    spoilt[8192:40960] = bytes(32768)
    file.write_bytes(spoilt)
    with pytest.raises(EventsProblem, match=r"damaged|cannot be copied"):
        copy_events(file, copy)
    assert copy.read_bytes() == kept
    ran = tastemaker("events", "backup", copy, "--out", tmp_path / "no" / "such" / "folder.db")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "cannot write" in ran.stderr
    with closing(sqlite3.connect(copy)) as whole:
        assert whole.execute("SELECT count(*) FROM purchases").fetchone() == (5_000,)
