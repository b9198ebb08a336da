"""What checking a model folder costs: ``python benchmarks/loading.py``.

Loads a folder several times, as a server does, with every check; in turns with it, the same without the looks at values, and
without checksums and looks. Purchases are drawn at random; vectors too, since their values do not matter here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from common import machine, markdown
from tastemaker.data.purchases import Histories
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model import folder as folders
from tastemaker.model.record import TrainingRecord
from tastemaker.model.taste_model import Memory, TasteModel


def main() -> None:
    """Print the table of one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--products", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = folders.save(_model(options.users, options.products, options.dimensions), Path(scratch) / "1")
        size = sum(file.stat().st_size for file in path.iterdir())
        ways = {
            "every check": lambda: folders.load(path),
            "without looks at values": lambda: _without_values(path),
            "without checksums and values": lambda: folders.load(path, verify=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    whole = np.median(seconds["every check"])
    rows = [
        [name, f"{np.median(found) * 1e3:,.0f}", f"{np.median(found) / whole:.2f}"]
        for name, found in seconds.items()
    ]
    print(markdown([f"a folder of {size / 2**20:,.0f} MiB", "median ms", "share"], rows))
    print(
        f"{options.users:,} users, {options.products:,} products, {options.dimensions} dimensions. {machine()}"
    )


def _without_values(path: Path) -> None:
    with (
        mock.patch.object(folders, "check_values", lambda file, *_: (folders._digest_of(file), None)),
        mock.patch.object(folders, "_has_gap_or_repeat", return_value=False),
    ):
        folders.load(path)


def _model(users: int, products: int, dimensions: int) -> TasteModel:
    rng = np.random.default_rng(0)
    histories = Histories(
        np.arange(users + 1, dtype=np.int64) * 5,
        (
            np.arange(users * 5, dtype=np.int64) % 5 + 5 * rng.integers(0, products // 5, users).repeat(5)
        ).astype(np.int32),
    )
    memory = Memory(
        np.arange(products + 1, dtype=np.int64) * 20,
        (
            np.arange(products * 20, dtype=np.int64) % 20
            + rng.integers(0, products - 20, products).repeat(20)
        ).astype(np.int32),
        rng.random(products * 20, np.float32),
    )
    vectors = rng.standard_normal((products, dimensions), np.float32)
    return TasteModel(
        users=Vocabulary.of(np.arange(users), noun="user"),
        products=Vocabulary.of([f"product-{row:08d}" for row in range(products)], noun="product"),
        histories=histories,
        product_vectors=vectors,
        product_bias=rng.random(products, np.float32),
        user_vectors=None,
        basket_vectors=vectors,
        memory=memory,
        record=TrainingRecord(None, 0, "made up", users * 5),
    )


if __name__ == "__main__":
    main()
