"""What each ingredient of the default model brings, on a part held out of ASOS's *train* file (never on its valid file).

    python benchmarks/ablation.py [--data DIR]

Rows differ from the one above them in one thing; all train for the epochs that the default chose. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import tastemaker as tm

LOG = "dsf_asos_train_with_alphanumeric_dummy_ids.parquet"
MEASURES = ("recall@10", "recall@100", "ndcg@100")
TASTE = {"count_weight": 0.0, "ridge_weight": 0.0, "number_weight": 0.0, "trend_weight": 0.0}
STEPS = {
    "taste: one member, uniform negatives, no decay of rare products": {
        "members": 1,
        "popularity_power": 0.0,
        "rare_decay": 0.0,
    },
    "negatives by popularity^.75 with logQ": {"members": 1, "rare_decay": 0.0},
    "rare products decay": {"members": 1},
    "two members": {},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", default=os.environ.get("TASTEMAKER_DATA", "../shared/data") + "/asos")
    log = tm.read_purchases(Path(arguments.parse_args().data) / LOG)
    split = tm.hold_out_random(log, rng=np.random.default_rng(1))
    default = tm.preset("default")
    chosen = tm.train(split.train, default)
    config = chosen.record.config
    assert config is not None
    fixed = {"epochs": config.taste.epochs, "horizon": config.taste.horizon}
    models = {"best sellers": tm.best_sellers(split.train), "co-purchase counts": tm.co_purchase(split.train)}
    for name, changes in STEPS.items():
        models[name] = tm.train(split.train, default.changed({**fixed, **TASTE, **changes}))
    counts = {**TASTE, "count_weight": config.memory.count_weight}
    models[f"memory of counts, weight {config.memory.count_weight:g}"] = tm.train(
        split.train, default.changed({**fixed, **counts})
    )
    pairs = counts | {"ridge_weight": config.memory.ridge_weight}
    models[f"ridge, weight {config.memory.ridge_weight:g}"] = tm.train(
        split.train, default.changed({**fixed, **pairs})
    )
    models[f"catalogue numbers, weight {config.memory.number_weight:g}: the default"] = chosen
    print("| model | " + " | ".join(MEASURES) + " |\n|---|" + "--:|" * len(MEASURES))
    for name, model in models.items():
        report = tm.evaluate(model, split.held_out)
        cells = [
            f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})"
            for value in map(report.metrics.__getitem__, MEASURES)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{split.description} {config.taste.epochs} epochs.")


if __name__ == "__main__":
    main()
