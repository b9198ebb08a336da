"""What one request costs, without the network: ``python benchmarks/one_request.py``.

A user's query, rules, filters, ranking, and the list with its ids: what a server does for one request, by the functions that it
calls, one request at a time. In turns with it, in the same process, on as many threads: NumPy's plain product of the same matrix
and one vector. Vectors, purchases, the memory and the catalogue are drawn at random; a rule leaves one percent of the products.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from common import Worker, machine, markdown, parser_of, questions, ratios, thread_environment

SIZES = ("29696x128", "1000000x128")
USERS, BOUGHT, TOGETHER, GROUPS = 50_000, 4, 20, 100
ALLOWED = 2.0

NUMPY = "NumPy's product of matrix and vector"
WITHOUT = "a request without rules"
RULE = "with a rule that leaves 1 %"
NEW = "the same, a rule never seen before"
NAMES = (NUMPY, WITHOUT, RULE, NEW)
WARM_UP = 5


def main() -> None:
    parser = parser_of(__doc__, seconds=20, threads=1, k=10)
    parser.add_argument(
        "--size", action="append", metavar="PRODUCTSxDIMENSIONS", help="may be given several times"
    )
    parser.add_argument("--worker", metavar="PRODUCTSxDIMENSIONS", help="for its own use")
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.threads, options.k)
        return
    environment = thread_environment(options.threads)
    environment.pop("OPENBLAS_CORETYPE", None)  # NumPy is to choose what is best on this machine
    for size in options.size or SIZES:
        command = [sys.executable, __file__, "--worker", size]
        command += ["--threads", str(options.threads), "--k", str(options.k)]
        with Worker(command, environment) as worker:
            print_table(size, worker.ask(seconds=options.seconds))
    print(
        f"k = {options.k}, {options.threads} thread(s), in turns; a ratio is of neighbours in time, the median of all. {machine()}"
    )


def print_table(size: str, seconds: dict[str, list[float]]) -> None:
    products, _, dimensions = size.partition("x")
    rows = []
    for name in NAMES:
        mine = seconds[name]
        share = [] if name == NUMPY else ratios(mine, seconds[NUMPY])
        rows.append(
            [
                name,
                f"{np.median(mine) * 1e3:,.2f}",
                f"{np.quantile(mine, 0.99) * 1e3:,.2f}",
                f"{np.median(share):.2f} ({np.quantile(share, 0.05):.2f}–{np.quantile(share, 0.95):.2f})"
                if share
                else "1",
                f"{ALLOWED:.0f}" if share else "",
            ]
        )
    title = f"{int(products):,} products × {dimensions}"
    print(markdown([title, "median ms", "p99 ms", "times NumPy's (5 %–95 %)", "allowed"], rows))
    rule, without = (float(np.quantile(seconds[name], 0.99)) for name in (RULE, WITHOUT))
    print(
        f"\np99 with the rule: {rule / without:.2f} of that without; {len(seconds[NUMPY])} requests of each.\n"
    )


# The process that measures ----------------------------------------------------------------------------------


def work(size: str, threads: int, k: int) -> None:
    products, _, dimensions = size.partition("x")
    with questions() as (wait, answer):
        asks = requests(int(products), int(dimensions), threads, k)
        for _ in range(WARM_UP):
            for ask in asks.values():
                ask()
        while True:
            answer(**in_turns(asks, wait()["seconds"]))


def in_turns(asks: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Ask one after another until the time is over; return the seconds of each."""
    found: dict[str, list[float]] = {name: [] for name in asks}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, ask in asks.items():
            began = time.perf_counter()
            ask()
            found[name].append(time.perf_counter() - began)
    return found


def requests(products: int, dimensions: int, threads: int, k: int) -> dict[str, Callable[[], object]]:
    """Return a function for each row of the table; it answers one request, and each call is for another user."""
    from tastemaker.ranking.index.narrowed import narrowed
    from tastemaker.ranking.packed import pack, product_candidates
    from tastemaker.ranking.rank import rank_visitors
    from tastemaker.ranking.rules.rule_book import compile_rules
    from tastemaker.ranking.rules.rules import NO_RULES, Rules
    from tastemaker.ranking.visitors import Visitor, Visitors
    from tastemaker.serving.models.ids.id_lookup import IdLookup

    rng = np.random.default_rng(7)
    model, table = shop(rng, products, dimensions)
    # as a server loads a version
    candidates = narrowed(product_candidates(model), model.product_vectors)
    packed = pack(model, catalogue=table, candidates=candidates)
    assert candidates.narrow is not None
    users, ids = IdLookup(model.users), IdLookup(model.products)
    matrix = model.product_vectors
    vectors = rng.normal(size=(64, dimensions)).astype(np.float32)
    asked = users_at_random(rng)
    numbers = count()

    def listed(rows: Any, scores: Any) -> list[tuple[Any, Any]]:
        return list(zip(ids.at(rows), scores, strict=True))

    def request(book: Any) -> object:
        row = users.row(next(asked))
        assert row is not None
        visitors = Visitors.of([Visitor(row, model.histories.of(row))])
        found = rank_visitors(packed, visitors, book, k=k, threads=threads).of(0)
        assert len(found.rows) == k
        return listed(found.rows, found.scores)

    def book_of(group: int) -> Any:
        return compile_rules([Rules.from_json({"where": {"group": group}})], model.products, table)

    known = book_of(3)
    assert compile_rules([NO_RULES], model.products, table).is_empty
    return {
        NUMPY: lambda: matrix @ vectors[next(numbers) % len(vectors)],
        WITHOUT: lambda: request(None),
        RULE: lambda: request(known),
        NEW: lambda: request(book_of(next(numbers) % GROUPS)),
    }


def users_at_random(rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from (f"user-{number:06}" for number in rng.integers(0, USERS, 4096).tolist())


def shop(rng: np.random.Generator, products: int, dimensions: int) -> tuple[Any, Any]:
    """Return a model and a catalogue, in which a hundredth of the products is of each group."""
    import polars as pl

    from tastemaker.data.purchases import Histories
    from tastemaker.data.reading.product_table import read_product_table
    from tastemaker.data.vocabulary import Vocabulary
    from tastemaker.model.record import TrainingRecord
    from tastemaker.model.taste_model import Memory, TasteModel

    vectors = rng.standard_normal((products, dimensions), np.float32)
    bought = some_of(rng, USERS, BOUGHT, products)
    together = some_of(rng, products, TOGETHER, products)
    model = TasteModel(
        users=Vocabulary(pl.Series("id", [f"user-{number:06}" for number in range(USERS)]), "user"),
        products=Vocabulary(pl.Series("id", np.arange(products)), "product"),
        histories=Histories(*bought),
        product_vectors=vectors,
        product_bias=rng.standard_normal(products, np.float32),
        user_vectors=None,
        basket_vectors=vectors,
        memory=Memory(*together, rng.random(len(together[1]), np.float32)),
        record=TrainingRecord(None, 0, "", len(bought[1])),
    )
    frame = pl.DataFrame({"product_id": np.arange(products), "group": rng.integers(0, GROUPS, products)})
    return model, read_product_table(frame, model.products)


def some_of(rng: np.random.Generator, lists: int, length: int, products: int) -> tuple[Any, Any]:
    """Return ragged lists of distinct ascending rows: one row from each of a number of equal ranges."""
    width = products // length
    rows = rng.integers(0, width, (lists, length)) + width * np.arange(length)
    return np.arange(lists + 1, dtype=np.int64) * length, rows.astype(np.int32).reshape(-1)


if __name__ == "__main__":
    main()
