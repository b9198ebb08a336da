"""tastemaker: the recommender that a shop can trust.

Purchases become taste vectors, taste vectors become ranked lists, and every list can be measured and explained. A log is a frame
(Polars, pandas, Arrow), a file, or what `read_purchases` read; its columns are found by their usual names.

>>> import tastemaker as tm
>>> log = tm.make_shop(users=300, products=80, purchases=2_000).purchases.to_frame()
>>> split = tm.hold_out_time(log, "2024-11-01")
>>> model = tm.train(split.train, epochs=2, dimensions=16)
>>> tm.recommend(model, "c-000001", k=3).to_frame().columns
['user_id', 'product_id', 'rank', 'score']
>>> sorted(tm.evaluate(model, split, at=10).metrics)[:3]
['best_sellers@10', 'coverage@10', 'gini@10']

Learn        `train` (``help(tm.Config)`` explains every setting), `Recommender` for scikit-learn
Read         `read_purchases`, `hold_out_time`, `hold_out_last`, `hold_out_random`
Ask          `recommend`, `recommend_baskets`, `similar`, `score`; ``explain=True`` says why; `fold_in` takes newer purchases up
Measure      `evaluate`, `replay`, `compare` with baselines and a verdict
Keep         `save`, `load`; ``model.user_embeddings()`` and ``model.product_embeddings()`` for use elsewhere

Lists, logs and reports give ``to_frame()``, ``to_pandas()`` and ``to_arrow()``. Errors are `TastemakerError`. The public names
stand in ``__init__.pyi``, beside this file; each is imported when it is first used, so that ``import tastemaker`` is quick.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

_HOME_OF = {
    name: home
    for home, name in re.findall(
        r"^from (\S+) import (\S+) as \2$", Path(__file__).with_suffix(".pyi").read_text(), re.MULTILINE
    )
}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tastemaker' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
