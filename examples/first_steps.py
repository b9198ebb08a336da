"""From a log to measured recommendations in twenty lines, on the built-in synthetic shop.

Run it: `python examples/first_steps.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import tastemaker as tm

shop = tm.make_shop(users=1_500, products=400, purchases=15_000)
split = tm.hold_out_random(shop.purchases)
print(split.description)

model = tm.train(split.train, seed=7)

for name, candidate in {"best sellers": tm.best_sellers(split.train), "tastemaker": model}.items():
    report = tm.evaluate(candidate, split.held_out, at=10)
    ndcg = report.metrics["ndcg@10"]
    print(f"{name:<13} ndcg@10 {ndcg.mean:.3f} ({ndcg.low:.3f} to {ndcg.high:.3f})")

print(tm.recommend(model, ["c-000001", "c-000002"], k=3).to_frame())
print(tm.similar(model, 1_000_001, k=3, similarity="cosine").to_frame())

with tempfile.TemporaryDirectory() as folder:
    written = tm.save(model, Path(folder) / "models" / "recommender" / "1")
    again = tm.load(written)
    print(sorted(file.name for file in written.iterdir()))
    assert np.array_equal(again.product_vectors, model.product_vectors)
