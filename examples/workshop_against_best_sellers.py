"""The finding that tastemaker began with: the workshop's model learns its users by heart and ranks worse than the best sellers.

Run it: `python examples/workshop_against_best_sellers.py` on the built-in shop, offline, where taste is plain and the model wins.
After `tastemaker fetch asos`, `python examples/workshop_against_best_sellers.py data/asos` runs it on the workshop's own purchases:
there it loses.

Every model answers the same held-out purchases twice: once as the workshop's notebook asked (is the bought product above 100 random
ones?), once as a shop would (what stands in the list when the whole catalogue is ranked?).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import tastemaker as tm

EPOCHS = (5, 10)
"""The workshop's best epoch by accuracy on held-out purchases, and its last."""


def built_in() -> tuple[tm.Purchases, tm.Purchases]:
    """Return train and held-out purchases of a sparse synthetic shop."""
    shop = tm.make_shop(users=3_000, products=2_000, purchases=12_000)
    split = tm.hold_out_random(shop.purchases, rng=np.random.default_rng(1))
    return split.train, split.held_out


def asos(folder: Path) -> tuple[tm.Purchases, tm.Purchases]:
    """Return the workshop's own train and valid purchases."""
    log = tm.read_purchases(
        folder / "dsf_asos_train_with_alphanumeric_dummy_ids.parquet",
        users=folder / "dsf_asos_dummy_users_with_alphanumeric_dummy_ids.csv",
        products=folder / "dsf_asos_productIds.csv",
    )
    valid = folder / "dsf_asos_valid_with_alphanumeric_dummy_ids.parquet"
    return log, tm.read_held_out(valid, log.users, log.products).purchases


train, held_out = asos(Path(sys.argv[1])) if len(sys.argv) > 1 else built_in()
models = {"best sellers": tm.best_sellers(train)}
for epochs in EPOCHS:
    models[f"workshop, {epochs} epochs"] = tm.train(train, tm.preset("workshop").changed({"epochs": epochs}))

print(f"{'':<20} {'accuracy, 1 of 101':>18} {'recall@10':>22} {'recall@100':>22}")
for name, model in models.items():
    report = tm.evaluate(model, held_out, at=[10, 100])
    assert report.workshop is not None
    cells = [
        f"{metric.mean:.4f} ({metric.low:.4f}–{metric.high:.4f})"
        for metric in (report.metrics["recall@10"], report.metrics["recall@100"])
    ]
    print(f"{name:<20} {report.workshop.categorical_accuracy:>18.4f} {cells[0]:>22} {cells[1]:>22}")
