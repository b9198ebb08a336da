"""tastemaker: the recommender that a shop can trust.

Purchases become taste vectors, taste vectors become ranked lists, and every list can be measured:

>>> import tastemaker as tm
>>> shop = tm.make_shop(users=300, products=80, purchases=2_000)
>>> model = tm.train(shop.purchases, tm.preset("workshop").changed({"epochs": 1}))
>>> tm.recommend(model, ["c-000001"], k=3).to_frame().columns
['user_id', 'product_id', 'rank', 'score']

The public names stand in ``__init__.pyi``, beside this file; each is imported when it is first used, so that ``import tastemaker``
is quick.
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
