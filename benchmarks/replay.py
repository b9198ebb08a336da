"""How long a replay takes: 50,000 questions against 30,000 products, on a random shop of dated purchases.

python benchmarks/replay.py [--questions N] [--products P] [--dimensions D]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tastemaker.data.past import past_of
from tastemaker.data.purchases import Purchases
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.evaluation.replay.baselines.every import baselines
from tastemaker.evaluation.replay.bench import Terms, bench_of
from tastemaker.evaluation.replay.replay import measure_model, replay
from tastemaker.kernels.threads import ThreadPool
from tastemaker.model.beside.live import Live, fold_in_of
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.memory.co_occurrence import count_memory

DAY = 86_400_000_000


def log_of(
    purchases: int, users: Vocabulary, products: Vocabulary, first: int, days: int, seed: int
) -> Purchases:
    rng = np.random.default_rng(seed)
    popular = rng.zipf(1.3, 4 * purchases) - 1
    rows = popular[popular < len(products)][:purchases]
    who = rng.integers(0, len(users), len(rows))
    when = DAY * first + np.sort(rng.integers(0, DAY * days, len(rows)))
    return Purchases(users, products, who.astype(np.int32), rows.astype(np.int32), when)


@contextmanager
def timed(found: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds on the clock, and those of all processors."""
    start, spent = time.perf_counter(), time.process_time()
    yield
    found[f"{name}, s"] = round(time.perf_counter() - start, 2)
    found[f"{name}, processor s"] = round(time.process_time() - spent, 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=50_000)
    parser.add_argument("--products", type=int, default=30_000)
    parser.add_argument("--dimensions", type=int, default=128)
    given = parser.parse_args()
    users = Vocabulary.of([f"u{i:06d}" for i in range(60_000)], noun="user")
    products = Vocabulary.of([f"p{i:06d}" for i in range(given.products)], noun="product")
    train = log_of(500_000, users, products, 0, 365, 1)
    later = log_of(given.questions, users, products, 365, 40, 2)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(given.products, given.dimensions)).astype(np.float32)
    with ThreadPool() as pool:
        memory = count_memory(
            train.histories(), len(products), power=0.4, damping=0.25, partners=200, pool=pool
        )
    model = TasteModel(
        users, products, train.histories(), vectors, rng.normal(size=given.products).astype(np.float32), None, vectors,
        memory, TrainingRecord(None, 0, "", len(train)), past=past_of(train),
    )  # fmt: skip
    queries = vectors[rng.integers(0, given.products, 20_000)] + rng.normal(size=(20_000, given.dimensions))
    buyers = np.bincount(train.product_rows, minlength=given.products).astype(np.float64)
    fold_in = fold_in_of(queries.astype(np.float32), vectors, buyers, 1.0)
    living = replace(model, live=Live(half_life=30.0, weight=1.0, kappa=1.0, dial=0.0, fold_in=fold_in))
    for one in (model, living):
        replay(
            one, later.take(np.arange(64)), beside=["recent best sellers", "session neighbours"]
        )  # compiled
    found: dict[str, float] = {}
    with timed(found, "timeline and questions"):
        bench = bench_of(model, later, Terms(include_purchased=True))
    found["questions"] = len(bench.questions)
    with timed(found, "the model"):
        measure_model(model, bench)
    with timed(found, "a model whose rates and vectors move"):
        measure_model(living, bench_of(living, later, Terms(include_purchased=True)))
    for name in ("best sellers", "recent best sellers", "session neighbours"):
        with timed(found, name):
            baselines(bench, [name])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
