"""tastemaker: the recommender that a shop can trust.

Purchases become taste vectors, taste vectors become ranked lists, and every list can be measured:

>>> import tastemaker as tm
>>> shop = tm.make_shop(users=300, products=80, purchases=2_000)
>>> model = tm.train(shop.purchases, tm.preset("workshop").changed({"epochs": 1}))
>>> tm.recommend(model, ["c-000001"], k=3).to_frame().columns
['user_id', 'product_id', 'rank', 'score']

The names below are the whole public interface; each is imported when first used, so that ``import tastemaker`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tastemaker.data.fetch import fetch_asos
    from tastemaker.data.leaks import check_no_leak
    from tastemaker.data.purchases import Purchases
    from tastemaker.data.reading.catalogues import read_catalogue
    from tastemaker.data.reading.columns import Columns
    from tastemaker.data.reading.options import Reading
    from tastemaker.data.reading.readers import HeldOut, read_held_out, read_purchases
    from tastemaker.data.splits import (
        Split,
        hold_out_last,
        hold_out_random,
        hold_out_time,
        hold_out_users,
        hold_out_windows,
    )
    from tastemaker.data.synthetic.shop import Shop, make_shop
    from tastemaker.data.vocabulary import Vocabulary
    from tastemaker.errors import TastemakerError
    from tastemaker.evaluation.comparison.compare import compare
    from tastemaker.evaluation.comparison.entries import Comparison
    from tastemaker.evaluation.evaluate import evaluate
    from tastemaker.evaluation.paired import compare_paired
    from tastemaker.evaluation.protocol import Report
    from tastemaker.evaluation.replay.replay import replay
    from tastemaker.evaluation.replay.report import ReplayReport
    from tastemaker.model.config import Config, preset
    from tastemaker.model.folder import load, save
    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.fold_in import fold_in, joined
    from tastemaker.ranking.packed import PackedModel, pack
    from tastemaker.ranking.recommend import Recommendations, recommend, recommend_baskets, similar
    from tastemaker.ranking.scores import score, score_each
    from tastemaker.ranking.top_k import Candidates, Exclusions, ExtraScores, top_k
    from tastemaker.training.baselines.als import als
    from tastemaker.training.baselines.best_sellers import best_sellers
    from tastemaker.training.baselines.co_purchase import co_purchase
    from tastemaker.training.baselines.ease import ease
    from tastemaker.training.train import train

_HOMES = {
    "data.reading.catalogues": ["read_catalogue"],
    "data.reading.columns": ["Columns"],
    "data.reading.options": ["Reading"],
    "data.fetch": ["fetch_asos"],
    "data.leaks": ["check_no_leak"],
    "data.purchases": ["Purchases"],
    "data.reading.readers": ["HeldOut", "read_held_out", "read_purchases"],
    "data.splits": [
        "Split",
        "hold_out_last",
        "hold_out_random",
        "hold_out_time",
        "hold_out_users",
        "hold_out_windows",
    ],
    "data.synthetic.shop": ["Shop", "make_shop"],
    "data.vocabulary": ["Vocabulary"],
    "errors": ["TastemakerError"],
    "evaluation.comparison.compare": ["compare"],
    "evaluation.comparison.entries": ["Comparison"],
    "evaluation.evaluate": ["evaluate"],
    "evaluation.paired": ["compare_paired"],
    "evaluation.protocol": ["Report"],
    "evaluation.replay.replay": ["replay"],
    "evaluation.replay.report": ["ReplayReport"],
    "model.config": ["Config", "preset"],
    "model.folder": ["load", "save"],
    "model.taste_model": ["TasteModel"],
    "ranking.fold_in": ["fold_in", "joined"],
    "ranking.packed": ["PackedModel", "pack"],
    "ranking.recommend": ["Recommendations", "recommend", "recommend_baskets", "similar"],
    "ranking.scores": ["score", "score_each"],
    "ranking.top_k": ["Candidates", "Exclusions", "ExtraScores", "top_k"],
    "training.baselines.als": ["als"],
    "training.baselines.best_sellers": ["best_sellers"],
    "training.baselines.co_purchase": ["co_purchase"],
    "training.baselines.ease": ["ease"],
    "training.train": ["train"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Candidates",
    "Columns",
    "Comparison",
    "Config",
    "Exclusions",
    "ExtraScores",
    "HeldOut",
    "PackedModel",
    "Purchases",
    "Reading",
    "Recommendations",
    "ReplayReport",
    "Report",
    "Shop",
    "Split",
    "TasteModel",
    "TastemakerError",
    "Vocabulary",
    "als",
    "best_sellers",
    "check_no_leak",
    "co_purchase",
    "compare",
    "compare_paired",
    "ease",
    "evaluate",
    "fetch_asos",
    "fold_in",
    "hold_out_last",
    "hold_out_random",
    "hold_out_time",
    "hold_out_users",
    "hold_out_windows",
    "joined",
    "load",
    "make_shop",
    "pack",
    "preset",
    "read_catalogue",
    "read_held_out",
    "read_purchases",
    "recommend",
    "recommend_baskets",
    "replay",
    "save",
    "score",
    "score_each",
    "similar",
    "top_k",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tastemaker' has no attribute {name!r}")
    value = getattr(import_module(f"tastemaker.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
