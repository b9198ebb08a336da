"""Hours of mixed load in a minute or two: ``python benchmarks/soak.py [--seconds 90] [--workers 1]``.

Clients ask for everything at once: lists for users and baskets, with rules, with reasons, in batches, neighbours, spoilt requests;
they send purchases, and see them in the next list. Meanwhile new versions are published and old ones removed, again and again.
Every answer is checked. Two versions are held at any time: the memory of each process's own (no file's) after half of the reloads
is compared with that after the last, since the first few reloads leave room in the allocator that later ones use again. At the end
each acknowledged purchase must be in the file. Each fifth of the time tells its open files, threads and 99th percentile.
Exit code 1 if an answer was wrong, a purchase lost, or a worker grew by more than ``--growth`` MiB.
"""

# ruff: noqa: D102

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import add_data_options, machine, markdown, parser_of, read_log
from serving import PREDICT, descendants, serving

JSON = {"Content-Type": "application/json"}
FIFTHS = 5


def main() -> None:
    parser = parser_of(__doc__, seconds=90, workers=1, clients=8, reloads=5, growth=24)
    parser.add_argument("--model", type=Path, help="a model's version folder")
    add_data_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(soak(Path(scratch), options))


def soak(folder: Path, options: argparse.Namespace) -> int:
    import tastemaker as tm
    from tastemaker.serving.answering.event_store import read_events
    from tastemaker.serving.front.api_keys import new_key

    model = tm.load(options.model) if options.model else tm.train(read_log(options), tm.preset("default"))
    models, keys, events = folder / "models" / "recommender", folder / "keys.json", folder / "events.sqlite"
    for version in ("1", "2"):
        tm.save(model, models / version)
    write_catalogue(model, folder / "catalogue.csv")
    _, key = new_key(keys, "admin")
    command = [sys.executable, "-m", "tastemaker", "serve", str(models.parent), "--port", "0", "--quiet"]
    command += ["--workers", str(options.workers), "--keys", str(keys), "--events", str(events)]
    command += ["--catalogue", str(folder / "catalogue.csv")]
    with serving(command, folder) as (address, process):
        end = time.monotonic() + options.seconds
        port = int(address.rpartition(":")[2])
        clients = [Client(port, key, model, number, end) for number in range(options.clients)]
        threads = [threading.Thread(target=client.work) for client in clients]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        memory, used = watch(process.pid, model, models, options, end)
        for thread in threads:
            thread.join()
        log = (folder / "server.log").read_text()
    acknowledged = sum(client.acknowledged for client in clients)
    kept = len(read_events(events))
    wrong = Counter[str]()
    for client in clients:
        wrong += client.wrong
    wrong["purchases lost"] += acknowledged - kept
    errors = [line for line in log.splitlines() if '"level":"error"' in line]
    wrong["errors in the log"] += len(errors)
    print("\n".join(errors[:5]), file=sys.stderr, end="")
    reloads = sorted(memory)
    half, last = (settled(memory[number])[1] for number in (reloads[len(reloads) // 2], reloads[-1]))
    grown = (last - half) / options.workers
    report(clients, wrong, options)
    print(f"\nPurchases acknowledged: {acknowledged:,}; kept: {kept:,}.")
    print()
    rows = [
        [f"after reload {number}" if number else "before", f"{pss:.0f}", f"{own:.0f}"]
        for number, (pss, own) in ((number, settled(memory[number])) for number in reloads)
    ]
    print(markdown(["two versions held", "memory (PSS), MiB", "each process's own, summed"], rows))
    print("\n" + over_time(clients, used, began, options.seconds))
    print(f"\nFrom half of the reloads to the last, a worker's own memory grew by {grown:+.1f} MiB.")
    print(f"\n{options.seconds} s, {options.clients} clients, {options.workers} worker(s). {machine()}")
    return int(sum(wrong.values()) > 0 or grown > options.growth)


def report(clients: list[Client], wrong: Counter[str], options: argparse.Namespace) -> None:
    times: dict[str, list[float]] = {}
    for client in clients:
        for name, seconds in client.seconds.items():
            times.setdefault(name, []).extend(seconds)
    rows = []
    for name, seconds in times.items():
        seconds.sort()
        late = seconds[int(len(seconds) * 0.99)]
        rows.append(
            [
                name,
                f"{len(seconds):,}",
                f"{statistics.median(seconds) * 1e3:.1f}",
                f"{late * 1e3:.1f}",
                wrong[name],
            ]
        )
    total = sum(map(len, times.values()))
    rows += [[name, "", "", "", count] for name, count in wrong.items() if count and name not in times]
    rows.append(["all", f"{total:,}", "", "", sum(wrong.values())])
    print(markdown(["requests", "answered", "median ms", "p99 ms", "wrong"], rows))
    for client in clients:
        for example in client.examples[:3]:
            print(example, file=sys.stderr)


def over_time(clients: list[Client], used: list[tuple[float, int, int]], began: float, seconds: int) -> str:
    """Return what each fifth of the time needed: the 99th percentile, and the greatest number of open files and threads."""
    rows = []
    for part in range(FIFTHS):
        low, high = (began + seconds * place / FIFTHS for place in (part, part + 1))
        took = sorted(took for client in clients for asked, took in client.moments if low <= asked < high)
        found = [(files, threads) for moment, files, threads in used if low <= moment < high]
        if took and found:
            files, threads = (max(values) for values in zip(*found, strict=True))
            late = took[int(len(took) * 0.99)]
            rows.append([f"{part + 1} of {FIFTHS}", f"{len(took):,}", f"{late * 1e3:.1f}", files, threads])
    return markdown(["fifth of the time", "answered", "p99 ms", "open files", "threads"], rows)


def write_catalogue(model: Any, file: Path) -> None:
    lines = ["product_id,category,price"]
    lines += [
        f"{product},c{row % 40},{5 + row % 90}" for row, product in enumerate(model.products.ids.to_list())
    ]
    file.write_text("\n".join(lines) + "\n")


def watch(
    process: int, model: Any, models: Path, options: argparse.Namespace, end: float
) -> tuple[dict[int, list[tuple[float, float]]], list[tuple[float, int, int]]]:
    """Publish versions at equal distances, each in place of the oldest.

    Returns the memory after each, and the open files and threads with their moment, four times a second.
    """
    import tastemaker as tm

    memory: dict[int, list[tuple[float, float]]] = {0: []}
    used: list[tuple[float, int, int]] = []
    began, reloads = time.monotonic(), 0
    while time.monotonic() < end - 1:
        due = (reloads + 1) * options.seconds / (options.reloads + 1)
        if time.monotonic() - began > due and reloads < options.reloads:
            reloads += 1
            tm.save(model, models / str(reloads + 2))
            gone = models / f".{reloads}"  # a rename, so that nobody sees half a folder
            (models / str(reloads)).rename(gone)
            shutil.rmtree(gone)
            memory[reloads] = []
        memory[reloads].append(memory_of(process))
        used.append((time.monotonic(), *files_and_threads(process)))
        time.sleep(0.25)
    return memory, used


def settled(memory: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the medians of the second half, when loading is over."""
    pss, own = (statistics.median(values) for values in zip(*memory[len(memory) // 2 :], strict=True))
    return pss, own


def files_and_threads(process: int) -> tuple[int, int]:
    """Return how many files a server's processes have open, and how many threads they have."""
    files = threads = 0
    for worker in (process, *descendants(process)):
        try:
            name = Path(f"/proc/{worker}/comm").read_text().strip()
            if (
                name == "tryout"
                or b"tastemaker.serving.models." in Path(f"/proc/{worker}/cmdline").read_bytes()
            ):
                continue
            files += len(list(Path(f"/proc/{worker}/fd").iterdir()))
            threads += len(list(Path(f"/proc/{worker}/task").iterdir()))
        except OSError:
            continue
    return files, threads


def memory_of(process: int) -> tuple[float, float]:
    """Return the PSS of a server's processes, and what each has of its own, MiB; without the one that works out neighbours."""
    pss = own = 0
    for worker in (process, *descendants(process)):
        try:
            if b"tastemaker.serving.models.neighbour_table" in Path(f"/proc/{worker}/cmdline").read_bytes():
                continue
            lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
        pss, own = pss + values["Pss"], own + values["Anonymous"]
    return pss / 1024, own / 1024


class Client:
    """One client on one connection: asks at random, and checks each answer."""

    def __init__(self, port: int, key: str, model: Any, number: int, end: float) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._random = random.Random(number)
        self._users, self._products = model.users.ids.to_list(), model.products.ids.to_list()
        self._known = set(self._products)
        self._model = model
        self._number, self._end = number, end
        self.acknowledged = 0
        self.seconds: dict[str, list[float]] = {}
        self.moments: list[tuple[float, float]] = []
        """When each request was sent, and how long it took"""
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []

    def work(self) -> None:
        kinds = [
            self.user, self.user, self.user, self.api_user, self.api_user, self.ruled, self.ruled, self.why, self.basket,
            self.batch, self.item, self.similar, self.api_similar, self.stranger, self.spoilt, self.purchase, self.status,
        ]  # fmt: skip
        while time.monotonic() < self._end:
            kind = self._random.choice(kinds)
            try:
                kind()
            except Exception as error:
                self.wrong[kind.__name__] += 1
                self.examples.append(f"{kind.__name__}: {type(error).__name__}: {error}"[:500])
                self._connection.close()
        self._connection.close()

    # What is asked

    def user(self) -> None:
        row = self._random.randrange(len(self._users))
        found = self._predict("user", "recommend_user", {"user": self._users[row], "k": 20})
        self._check(found["product_ids"], found["scores"], 20)
        low, high = self._model.histories.offsets[row : row + 2]
        bought = {self._products[place] for place in self._model.histories.products[low:high].tolist()}
        assert not bought & set(found["product_ids"]), "what was bought came again"

    def item(self) -> None:
        product = self._random.choice(self._products)
        found = self._predict("item", "call_item_item", {"item": product})
        self._check(found["output_0"], found["output_1"], 100)

    def similar(self) -> None:
        some = self._random.sample(self._products, 3)
        found = self._predict("similar", "similar_products", {"product": some})
        for product, ids, scores in zip(some, found["product_ids"], found["scores"], strict=True):
            self._check(ids, scores, 10)
            assert product not in ids, "a product is near itself"

    def api_user(self) -> None:
        user = self._random.choice(self._users)
        self._check_list(self._ask("api_user", "GET", f"/api/v1/recommendations/users/{quoted(user)}"), 10)

    def ruled(self) -> None:
        category = self._random.randrange(40)
        path = f"/api/v1/recommendations/users/{quoted(self._random.choice(self._users))}?where=category:c{category}"
        found = self._ask("ruled", "GET", path)
        self._check_list(found, 10)
        rows = [self._products.index(entry["product"]) for entry in found["recommendations"][:2]]
        assert all(row % 40 == category for row in rows), "a rule was broken"

    def why(self) -> None:
        path = f"/api/v1/recommendations/users/{quoted(self._random.choice(self._users))}?why=true&details=true&k=5"
        found = self._ask("why", "GET", path)
        self._check_list(found, 5)
        if found["source"] == "personal":
            assert all(entry["reasons"] for entry in found["recommendations"]), "a reason is missing"

    def basket(self) -> None:
        some = self._random.sample(self._products, 3)
        rules = {"deny": some[:1], "at_most": {"category": 2}}
        found = self._ask(
            "basket", "POST", "/api/v1/recommendations/basket", {"basket": some, "rules": rules}
        )
        self._check_list(found, 10)

    def batch(self) -> None:
        body = {
            "users": self._random.sample(self._users, 12),
            "baskets": [self._random.sample(self._products, 2)],
        }
        found = self._ask("batch", "POST", "/api/v1/batch", body)
        assert len(found["answers"]) == 13, "an answer is missing"
        for answer in found["answers"]:
            self._check_list(answer, 10)

    def api_similar(self) -> None:
        product = self._random.choice(self._products)
        found = self._ask("api_similar", "GET", f"/api/v1/products/{quoted(product)}/similar")["similar"]
        self._check([each["product"] for each in found], [each["score"] for each in found], 10)

    def stranger(self) -> None:
        found = self._ask(
            "stranger", "GET", f"/api/v1/recommendations/users/nobody-{self._random.randrange(10**9)}"
        )
        self._check_list(found, 10)
        assert found["source"] == "best sellers", found["source"]

    def spoilt(self) -> None:
        kind = self._random.randrange(4)
        if kind == 0:
            self._ask("spoilt", "POST", PREDICT, raw=b'{"inputs": [' * 50, wanted=(400,))
        elif kind == 1:
            self._ask("spoilt", "GET", "/api/v1/recommendations/users/x?k=0", wanted=(400,))
        elif kind == 2:
            self._ask("spoilt", "GET", "/v1/models/nothing", wanted=(404,))
        else:
            self._ask(
                "spoilt", "GET", "/api/v1/models", headers={"Authorization": "Bearer wrong"}, wanted=(401,)
            )

    def purchase(self) -> None:
        """Send a purchase of somebody new: the next list is theirs, without what they bought."""
        who, product = (
            f"new-{self._number}-{self._random.randrange(10**12)}",
            self._random.choice(self._products),
        )
        body = {"purchases": [{"user": who, "product": product}]}
        key = {"Idempotency-Key": who}
        for _ in range(
            self._random.choice([1, 1, 2])
        ):  # the second time is a repeat, which keeps nothing twice
            assert self._ask("purchase", "POST", "/api/v1/events", body, headers=key)["accepted"] == 1
        self.acknowledged += 1
        found = self._ask("after a purchase", "GET", f"/api/v1/recommendations/users/{who}")
        self._check_list(found, 10)
        assert found["source"] == "personal", "a live purchase was not heeded"
        assert product not in {each["product"] for each in found["recommendations"]}, (
            "what was bought came again"
        )

    def status(self) -> None:
        found = self._ask("status", "GET", "/v1/models/recommender")["model_version_status"]
        assert any(version["state"] == "AVAILABLE" for version in found), "no version is available"
        self._ask("status", "GET", "/metrics", parse=len)

    # How it is asked, and what is checked

    def _predict(self, name: str, signature: str, inputs: dict[str, Any]) -> Any:
        return self._ask(name, "POST", PREDICT, {"signature_name": signature, "inputs": inputs})["outputs"]

    def _ask(
        self,
        name: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        wanted: tuple[int, ...] = (200,),
        parse: Callable[[bytes], Any] = json.loads,
    ) -> Any:
        content = raw if body is None else json.dumps(body).encode()
        began = time.perf_counter()
        self._connection.request(method, path, content, self._headers | JSON | (headers or {}))
        answer = self._connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        self.seconds.setdefault(name, []).append(took)
        self.moments.append((time.monotonic() - took, took))
        assert answer.status in wanted, f"{answer.status} {text[:300]!r}"
        return parse(text) if answer.status == 200 else None

    def _check_list(self, found: Any, length: int) -> None:
        listed = found["recommendations"]
        pairs = [(entry["product"], entry["score"]) for entry in listed]
        self._check([product for product, _ in pairs], [score for _, score in pairs], length)
        assert [entry["rank"] for entry in listed] == list(range(1, length + 1)), "ranks are wrong"

    def _check(self, ids: list[Any], scores: list[float], length: int) -> None:
        assert len(ids) == len(scores) == length, f"{len(ids)} products in place of {length}"
        assert len(set(ids)) == length, "a product is there twice"
        assert self._known.issuperset(ids), "an unknown product"
        assert scores == sorted(scores, reverse=True), "scores do not descend"


def quoted(id: Any) -> str:
    return urllib.parse.quote(str(id), safe="")


if __name__ == "__main__":
    main()
