"""State that several people change at once: ``python benchmarks/attacks/two_editors.py [--seconds 12]``.

Six writers put rules while somebody reads the file again and again; writers with one etag race; ``tastemaker key new`` runs four
times at once. Exit code 1 if an answer showed somebody else's rules, the file was torn, two writers with one etag won, or a key
that was printed is not in the file.
"""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from under_attack import Server, as_json, new_key, options_of, put_shop, serving, table

RULES = "/api/v1/rules"


def main() -> None:
    """Attack all three; print the counts."""
    options = options_of(__doc__, seconds=12, rounds=150, keys=6, writers=6, workers=1)
    rows: list[tuple[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, products = put_shop(folder / "models", python=options.python)
        key = new_key(options.python, folder / "keys.json")
        file = folder / "models" / "recommender" / "rules.json"
        given = ("--keys", folder / "keys.json", "--quiet", "--workers", options.workers)
        with serving(options.python, folder / "models", folder / "log", *given) as server:
            bad = write_at_once(server, key, file, products, options, rows)
            bad += race_with_one_etag(server, key, products, options.rounds, rows)
        bad += make_keys_at_once(options.python, folder / "more.json", options.keys, rows)
    print(table(rows))
    raise SystemExit(bad > 0)


def write_at_once(server: Server, key: str, file: Path, products: list, options, rows: list) -> int:
    """Let writers put rules of different lengths, each its own; look at the file meanwhile."""
    end = time.monotonic() + options.seconds
    statuses, foreign, torn, looks = Counter[int](), itertools.count(), itertools.count(), itertools.count()

    def write(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        for turn in itertools.count():
            if time.monotonic() > end:
                return
            mine = products[number :: 7 + turn % 5][: 1 + (number * 37 + turn * 13) % 900]
            connection.request("PUT", RULES, as_json({"deny": mine}), headers)
            answer = connection.getresponse()
            found = json.loads(answer.read() or b"{}")
            statuses[answer.status] += 1
            if answer.status == 200 and found["rules"]["deny"] != mine:
                next(foreign)

    def look() -> None:
        while time.monotonic() < end:
            next(looks)
            try:
                json.loads(file.read_bytes())
            except FileNotFoundError:
                continue
            except ValueError:
                next(torn)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(options.writers)]
    threads.append(threading.Thread(target=look))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    strange, cut, seen = next(foreign), next(torn), next(looks)
    answers = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
    rows.append((f"{options.writers} writers of rules, {options.seconds} s", answers))
    rows.append(("answers with somebody else's rules", strange))
    rows.append((f"looks at the file that found it torn, of {seen:,}", cut))
    return strange + cut + sum(count for status, count in statuses.items() if status != 200)


def race_with_one_etag(server: Server, key: str, products: list, rounds: int, rows: list) -> int:
    """Let four writers state the same etag; one may win."""
    given = {"Authorization": f"Bearer {key}", "Content_Type": "application/json"}
    several = 0
    with ThreadPoolExecutor(4) as pool:
        for turn in range(rounds):
            etag = server.ask("GET", RULES, **given)[2]["etag"]
            bodies = [as_json({"deny": [products[turn * 4 + number]]}) for number in range(4)]
            put = partial(server.ask, "PUT", RULES, If_Match=etag, **given)
            several += [answer[0] for answer in pool.map(put, bodies)].count(200) > 1
    rows.append((f"rounds of four writers with one etag that two or more won, of {rounds}", several))
    return several


def make_keys_at_once(python: str, file: Path, rounds: int, rows: list) -> int:
    """Make four keys at once, again and again; each that was printed must be in the file."""
    command = [python, "-m", "tastemaker", "key", "new", "--keys", str(file)]
    printed = 0
    for _ in range(rounds):
        made = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(4)
        ]
        printed += sum(bool(process.communicate()[0].strip()) for process in made)
    lost = printed - len(json.loads(file.read_text())["keys"])
    rows.append((f"printed keys that are not in the file, of {printed}", lost))
    return lost


if __name__ == "__main__":
    main()
