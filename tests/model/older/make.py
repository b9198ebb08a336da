"""Make the files beside this one, with tastemaker as of ce4f77a: ``python make.py INTO``."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from tastemaker.data.readers import read_purchases

from tastemaker.model.config import preset
from tastemaker.model.folder import save
from tastemaker.ranking.recommend import recommend, recommend_baskets, similar
from tastemaker.training.train import train

PRESETS = {
    "default": {"dimensions": 16},
    "workshop": {"dimensions": 12, "epochs": 4, "batch": 64, "negatives": 20, "learning_rate": 10.0},
}


def make_log():
    """70 users in four tastes buy 40 products in 120 days of 2020, some of them again."""
    rng = np.random.default_rng(20)
    users = rng.integers(0, 70, 900)
    loyal = rng.random(900) < 0.8
    own = users % 4 * 10 + np.minimum(rng.geometric(0.25, 900) - 1, 9)
    products = np.where(loyal, own, rng.integers(0, 40, 900))
    days = pl.Series(np.sort(rng.integers(18_262, 18_382, 900)).astype(np.int32)).cast(pl.Date)
    return pl.DataFrame({"user_id": [f"u{u}" for u in users], "product_id": 1000 + products, "date": days})


into = Path(sys.argv[1])
make_log().write_csv(into / "log.csv")
log = read_purchases(make_log())
for name, settings in PRESETS.items():
    model = train(log, preset(name).changed(settings), seed=5, threads=1)
    save(model, into / name / "1")
    ranked = {
        "users": recommend(model, model.users.ids[:12], k=8),
        "with purchases": recommend(model, model.users.ids[:12], k=8, include_purchased=True),
        "similar": similar(model, model.products.ids[:6], k=5),
    }
    if name == "default":
        ranked["baskets"] = recommend_baskets(model, [[1000, 1012], [1025]], k=8)
    lists = {
        kind: {
            "offsets": found.lists.offsets.tolist(),
            "rows": found.lists.rows.tolist(),
            "scores": found.lists.scores.tobytes().hex(),
        }
        for kind, found in ranked.items()
    }
    (into / f"{name}.json").write_text(json.dumps(lists))

pairs = read_purchases(make_log().drop("date"))
model = train(pairs, preset("default").changed(PRESETS["default"]), seed=5, threads=1)
written = save(model, into / "pairs")
hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(written.glob("*.npy"))}
(into / "pairs.json").write_text(json.dumps(hashes, indent=1))
