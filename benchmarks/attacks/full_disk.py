"""A disk that is full: ``python benchmarks/attacks/full_disk.py [--posts 300]``.

A server has its models, rules, keys and events on a file system of a few megabytes of memory, which is then filled to the last
byte. Purchases and rules must be refused (507) while lists go on, with the rules that were in force; with room again, all is taken
and nothing acknowledged is lost. A server that would begin a file of events there says so in a sentence. Exit code 1 otherwise.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from under_attack import PREDICT, Server, as_json, new_key, options_of, put_shop, serving, table

WITHIN = "TASTEMAKER_FULL_DISK"
MEGABYTES = 12


def main() -> None:
    """Fill the disk under a server; print what came of it."""
    options = options_of(__doc__, posts=300)
    if WITHIN not in os.environ:  # a name space of its own, in which anybody may mount
        command = ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv]
        if shutil.which("unshare") is None:
            print("this needs unshare, of util-linux", file=sys.stderr)
            raise SystemExit(2)
        os.execvpe(command[0], command, {**os.environ, WITHIN: "1"})
    with tempfile.TemporaryDirectory() as scratch:
        disk = Path(scratch) / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            rows, bad = attack(Path(scratch), disk, options)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    print(table(rows))
    raise SystemExit(bad > 0)


def attack(folder: Path, disk: Path, options) -> tuple[list[tuple[str, object]], int]:
    """Serve from the disk, fill it, ask for everything, make room, and ask again."""
    users, products = put_shop(disk / "models", python=options.python)
    key, events = new_key(options.python, disk / "keys.json"), disk / "events.sqlite"
    given = ("--keys", disk / "keys.json", "--events", events, "--quiet")
    headers = {"X_API_Key": key, "Content_Type": "application/json"}
    with serving(options.python, disk / "models", folder / "log", *given) as server:

        def post(number: int) -> int:
            body = {"purchases": [{"user": f"guest-{number}", "product": products[0]}]}
            return server.ask("POST", "/api/v1/events", as_json(body), **headers)[0]

        def put(product: object) -> int:
            return server.ask("PUT", "/api/v1/rules", as_json({"deny": [product]}), **headers)[0]

        before = [post(number) for number in range(50)]
        ruled = put(products[1])
        fill(disk)
        refused = Counter(post(1_000 + number) for number in range(options.posts))
        rules = Counter(put(products[2 + number]) for number in range(20))
        lists = Counter(ask_for_list(server, key, user, products[1]) for user in users[: options.posts])
        with contextlib.suppress(FileNotFoundError):
            (disk / "filler").unlink()
        time.sleep(0.5)
        after = [post(5_000 + number) for number in range(50)]
        again = put(products[3])
    with contextlib.closing(sqlite3.connect(events)) as connection:
        kept = {user for (user,) in connection.execute("SELECT user FROM purchases")}
    wanted = {f"guest-{number}" for number in (*range(50), *range(5_000, 5_050))}
    lost = len(wanted - kept)
    fill(disk)
    command = [
        options.python,
        "-m",
        "tastemaker",
        "serve",
        disk / "models",
        "--port",
        "0",
        "--keys",
        disk / "keys.json",
    ]
    command += ["--events", disk / "new" / "events.sqlite"]
    with contextlib.suppress(OSError):
        (disk / "new").mkdir()
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    said = ended.stderr.strip().splitlines()
    one = ended.returncode == 1 and "Traceback" not in ended.stderr
    rows: list[tuple[str, object]] = [
        (f"{options.posts} posts of purchases to a full disk", told(refused)),
        ("20 new rules for it", told(rules)),
        (f"{sum(lists.values())} lists meanwhile, under the rules that were in force", told(lists)),
        ("50 posts before and 50 after, when there is room again", f"{lost} lost"),
        ("a new file of events on a full disk", said[-1][-120:] if one and said else "no sentence"),
    ]
    ok = set(before) | set(after) | {ruled, again} | set(lists) == {200}
    return rows, lost + (not ok) + (refused != {507: options.posts}) + (set(rules) != {507}) + (not one)


def fill(disk: Path) -> None:
    """Write until nothing more goes on the disk."""
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size) == size:
                    pass


def ask_for_list(server: Server, key: str, user: object, denied: object) -> object:
    """Return the status of a user's list, or what is wrong with it."""
    body = as_json({"signature_name": "recommend_user", "inputs": user})
    status, content, _ = server.ask("POST", PREDICT, body, X_API_Key=key)
    return "a denied product" if as_json(denied) in content.replace(b",", b" ").split() else status


def told(counts: Counter) -> str:
    """Return counts in a line."""
    return ", ".join(f"{count} × {what}" for what, count in counts.items())


if __name__ == "__main__":
    main()
