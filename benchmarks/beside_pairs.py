"""What attributes, contexts and live events cost: learning, memory, a served list, new products, a stream of events.

python benchmarks/beside_pairs.py [--users U] [--products P] [--purchases N] [--threads T]

A random dated shop with ten columns of its products and two contexts, learned with settled settings, with those columns and
without them, each in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tastemaker as tm
from common import machine, markdown, parser_of
from tastemaker.data.reading.options import Reading
from tastemaker.ranking.live.standing import Bought, Standing

COLUMNS = tuple(f"column_{number}" for number in range(10))
CONTEXTS = ("occasion", "channel")
SETTLED = {
    "epochs": 6, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.spectral_weight": 0.0,
    "memory.directed_weight": 0.0, "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 8.0,
    "order.memory_days": 0.0, "live.rate": 1.0, "live.half_life": 30.0, "live.young": 1.0, "live.dial": 0.3,
    "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip


def catalogue_of(first: int, products: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return products with ten columns: categories of 5 to 500 values."""
    ids = [f"p{number:07d}" for number in range(first, first + products)]
    columns = {
        name: rng.integers(0, size, products).astype(str)
        for name, size in zip(COLUMNS, np.geomspace(5, 500, 10).astype(int), strict=True)
    }
    return pl.DataFrame({"product_id": ids, **columns})


def shop_of(given: argparse.Namespace) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a log with two contexts, and its catalogue."""
    rng = np.random.default_rng(3)
    products = catalogue_of(0, given.products, rng)
    popular = np.minimum(rng.zipf(1.3, given.purchases) - 1, given.products - 1)
    popular = np.where(
        rng.random(given.purchases) < 0.5, popular, rng.integers(0, given.products, given.purchases)
    )
    log = pl.DataFrame(
        {
            "user_id": [f"u{number:07d}" for number in rng.integers(0, given.users, given.purchases)],
            "product_id": products["product_id"].gather(popular),
            "time": pl.Series(np.sort(rng.integers(0, 365 * 86_400, given.purchases)) * 1_000_000).cast(
                pl.Datetime("us")
            ),
            "occasion": rng.integers(0, 12, given.purchases).astype(str),
            "channel": rng.integers(0, 4, given.purchases).astype(str),
        }
    )
    return log, products


def learned(given: argparse.Namespace, *, beside: bool) -> tuple[tm.TasteModel, dict[str, float]]:
    """Learn with or without the columns; return the model, the median epoch's processor seconds, and the peak in MiB."""
    log, products = shop_of(given)
    reading = Reading(context=CONTEXTS, product_features=COLUMNS) if beside else Reading()
    purchases = tm.read_purchases(log, products=products, reading=reading)
    names = [f"context:{name}" for name in CONTEXTS] + [f"product:{name}" for name in COLUMNS]
    columns = ",".join(names) if beside else ""
    config = tm.preset("default").changed(
        SETTLED | {"tokens.columns": columns, "live.fold_in": 1.0 if beside else 0.0}
    )
    spent: list[float] = []
    seen = [0]

    def watch(step: Any) -> None:
        if step.epoch != seen[0]:
            seen[0] = step.epoch
            spent.append(time.process_time())

    tm.train(purchases, config.changed(epochs=1), threads=given.threads, progress=False)  # compiled
    start = time.process_time()
    model = tm.train(purchases, config, threads=given.threads, progress=watch)
    found = {
        "training of 6 epochs, processor s": time.process_time() - start,
        "one of its epochs, processor s": float(np.min(np.diff(spent))),
        "peak, MiB": peak(),
    }
    return model, found


def peak() -> float:
    """Return the most memory that this process held, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Any, rounds: int) -> float:
    """Return the least processor seconds of several rounds, after one that is not timed."""
    work()
    best = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        best.append(time.process_time() - start)
    return min(best)


def serving(model: tm.TasteModel) -> dict[str, float]:
    """Return the milliseconds of one list with a context and without one, of the same users."""
    packed = tm.pack(model)
    users = model.users.ids.head(200).to_list()
    plain = [tm.Visit(user=user) for user in users]
    told = [tm.Visit(user=user, context={"occasion": "3", "channel": "1"}) for user in users]

    def ask(visits: list[tm.Visit]) -> None:
        for visit in visits:
            tm.recommend_visits(packed, [visit], k=10, threads=1)

    ask(plain[:5])
    pairs = []
    for _ in range(9):  # in turns
        pairs.append((timed(lambda: ask(plain), 1), timed(lambda: ask(told), 1)))
    ratio = statistics.median(second / first for first, second in pairs)
    return {
        "list, ms": min(first for first, _ in pairs) / len(users) * 1e3,
        "list with context, ratio": ratio,
    }


def over_http(model: tm.TasteModel) -> dict[str, float]:
    """Return the milliseconds of one request with two contexts and without them, of the same users: all but the network."""
    from starlette.testclient import TestClient

    from tastemaker.serving.app import create_app
    from tastemaker.serving.front.settings import Settings

    users = model.users.ids.head(200).to_list()
    plain = [json.dumps({"basket": [], "user": user}).encode() for user in users]
    told = [
        json.dumps({"basket": [], "user": user, "context": {"occasion": "3", "channel": "1"}}).encode()
        for user in users
    ]
    with tempfile.TemporaryDirectory() as folder:
        tm.save(model, Path(folder) / "models" / "shop" / "1")
        app = create_app(Settings(models=Path(folder) / "models", log_requests=False))
        with TestClient(app, base_url="http://localhost") as client:
            assert client.portal is not None
            portal = client.portal

            def ask(bodies: list[bytes]) -> None:
                portal.call(_asked, app, bodies)

            ask(plain[:5] + told[:5])
            pairs = [(timed(lambda: ask(plain), 1), timed(lambda: ask(told), 1)) for _ in range(9)]
    ratio = statistics.median(second / first for first, second in pairs)
    return {
        "request, ms": min(first for first, _ in pairs) / len(users) * 1e3,
        "request with context, ratio": ratio,
    }


async def _asked(app: Any, bodies: list[bytes]) -> None:
    """Send bodies to an application, one after another, without a socket."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/api/v1/recommendations/basket", "raw_path": b"/api/v1/recommendations/basket", "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    for body in bodies:
        sent: list[dict[str, Any]] = []

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any], sent: list[dict[str, Any]] = sent) -> None:
            sent.append(message)

        length = (b"content-length", str(len(body)).encode())
        await app({**scope, "headers": [*headers, length], "state": {}}, receive, send)
        assert sent[0]["status"] == 200, sent


def new_products(model: tm.TasteModel) -> dict[str, float]:
    """Return the seconds until 10,000 new products are findable."""
    more = catalogue_of(10_000_000, 10_000, np.random.default_rng(5))

    def add() -> None:
        longer, added = tm.add_products(model, more)
        assert added.products == 10_000
        tm.recommend_visits(longer, [tm.Visit(context={"occasion": "3"})], k=10)

    return {"10,000 new products, s": timed(add, 3)}


def events(model: tm.TasteModel) -> dict[str, float]:
    """Return the share of a core that a thousand purchases a second take to move rates and vectors, in batches of a second."""
    standing, rng = Standing(model), np.random.default_rng(7)
    past, clock = model.past, standing.clock
    assert past is not None
    second = [clock]

    def follow() -> None:
        second[0] += 1_000_000
        times = np.sort(second[0] + rng.integers(0, 1_000_000, 1_000))
        products = rng.integers(0, len(model.products), 1_000).astype(np.int32)
        buyers = rng.integers(0, len(model.users), 1_000).astype(np.int32)
        standing.follow(Bought(products, times, buyers, past))

    return {"1,000 events a second, share of a core": timed(follow, 10)}


def worker(given: argparse.Namespace) -> None:
    """Learn one of both, and print what was measured as JSON."""
    model, found = learned(given, beside=given.worker == "beside")
    if given.worker == "beside":
        found |= serving(model) | over_http(model) | new_products(model) | events(model)
    print(json.dumps(found))


def main() -> None:
    parser = parser_of(__doc__, users=20_000, products=10_000, purchases=200_000, threads=2, rounds=3)
    parser.add_argument("--worker", choices=("pairs", "beside"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        worker(given)
        return
    found: dict[str, list[dict[str, float]]] = {"pairs": [], "beside": []}
    for _ in range(given.rounds):
        for name, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--worker", name]
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
            results.append(json.loads(ran.stdout.splitlines()[-1]))
    middle = {
        name: {key: statistics.median(one[key] for one in results) for key in results[0]}
        for name, results in found.items()
    }
    both = [
        [key, f"{middle['pairs'][key]:.3g}", f"{middle['beside'][key]:.3g}", ratio(found, key)]
        for key in middle["pairs"]
    ]
    print(markdown(["", "pairs alone", "with ten columns and two contexts", "ratio"], both) + "\n")
    alone = [[key, f"{value:.3g}"] for key, value in middle["beside"].items() if key not in middle["pairs"]]
    print(markdown(["with ten columns and two contexts", ""], alone) + "\n")
    print(f"{given.users:,} users, {given.products:,} products, {given.purchases:,} purchases. {machine()}")


def ratio(found: dict[str, list[dict[str, float]]], key: str) -> str:
    """Return the median ratio of neighbours in time, with the least and the greatest."""
    ratios = sorted(
        after[key] / before[key] for before, after in zip(found["pairs"], found["beside"], strict=True)
    )
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
