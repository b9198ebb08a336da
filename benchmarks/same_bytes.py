"""Checksums of small models and their lists, to be compared between machines: ``python benchmarks/same_bytes.py``.

Every kind of taste is learned from a small synthetic shop, and lists are ranked with each. What is printed is the same on every
machine that was tried: x86-64 with AVX-512 and with AVX2, and ARM (docs/decisions.md says how).
"""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import polars as pl

import tastemaker as tm
from common import parser_of

DEFAULT = {"epochs": 2, "horizon": 2, "dimensions": 32}
KINDS = {
    "workshop": tm.preset("workshop").changed({"epochs": 2}),
    "default": tm.preset("default").changed(DEFAULT | {"count_weight": 4.0, "ridge_weight": 8.0}),
    "cosine": tm.preset("default").changed(
        DEFAULT | {"members": 1, "objective": "cosine", "spectral_weight": 0.5}
    ),
    "computed": tm.preset("default").changed(
        {"dimensions": 32, "objective": "spectral", "spectral_weight": 1.0}
    ),
}
SETTLED = {
    "count_weight": 2.0, "ridge_weight": 0.0, "spectral_weight": 0.0, "directed_weight": 4.0, "taste_places": 8.0,
    "taste_days": 0.0, "memory_places": 8.0, "memory_days": 0.0, "trend.weight": 0.0, "repeats.weight": 0.0,
    "repeats.sales": 0.0, "repeats.level": 0.0, "live.rate": 1.0, "live.half_life": 30.0, "live.fold_in": 1.0,
    "live.young": 1.0, "live.dial": 0.3, "tokens.columns": "product:category,product:price",
}  # fmt: skip
KINDS["columns"] = tm.preset("default").changed(DEFAULT | SETTLED)
"""Attributes of products, steps, rates and fold-in beside the pairs"""
ARRAYS = ("product_vectors", "product_bias", "user_vectors", "basket_vectors")


def main() -> None:
    parser = parser_of(__doc__, threads=2)
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: each of them")
    options = parser.parse_args()
    shop = tm.make_shop(users=600, products=300, purchases=9_000, seed=3)
    print(f"{platform.machine()}, numpy {np.__version__}")
    for name in options.kind or KINDS:
        log = described(shop) if name == "columns" else shop.purchases
        model = tm.train(log, KINDS[name], seed=5, threads=options.threads)
        arrays = {part: getattr(model, part) for part in ARRAYS}
        sums = [f"{part} {checksum(array.tobytes())}" for part, array in arrays.items() if array is not None]
        if model.memory is not None:
            sums.append(f"memory {checksum(model.memory.weights.tobytes())}")
        lists = tm.recommend(model, model.users.ids[:50], k=10)
        sums.append(f"lists {checksum(str([lists.of(place) for place in range(50)]).encode())}")
        print(f"{name}: {', '.join(sums)}", flush=True)


def described(shop: tm.Shop) -> tm.Purchases:
    """Return the purchases with what the catalogue says of the products."""
    log = shop.purchases
    frame = pl.DataFrame({
        "user_id": log.users.ids.gather(log.user_rows),
        "product_id": log.products.ids.gather(log.product_rows),
        "time": pl.Series(log.times).cast(pl.Datetime("us")),
    })  # fmt: skip
    return tm.read_purchases(frame, products=shop.catalogue, product_features=["category", "price"])


def checksum(data: bytes) -> str:
    """Return the first digits of a SHA-256."""
    return hashlib.sha256(data).hexdigest()[:12]


if __name__ == "__main__":
    main()
