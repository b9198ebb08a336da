"""Other libraries' models, when they are installed: their own scores, ranked by tastemaker."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tastemaker.evaluation.comparison.contestants import CONTESTANTS
from tastemaker.evaluation.comparison.peers import lenskit_als, rectools_svd
from tastemaker.ranking.scores import score_rows


@pytest.fixture(autouse=True)
def _foreign_warnings():
    """What other libraries warn of when they are imported or run is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_scores_are_lenskits_own(split, monkeypatch):
    als = pytest.importorskip(
        "lenskit.als", reason="LensKit is not installed: pip install 'tastemaker[peers]'"
    )
    from lenskit.data import ItemList, RecQuery

    trained = []
    real = als.ImplicitMFScorer
    monkeypatch.setattr(
        als, "ImplicitMFScorer", lambda **settings: trained.append(real(**settings)) or trained[0]
    )
    model = lenskit_als(split.train, factors=8, epochs=3, seed=2)
    bought = model.histories.of(5)
    assert len(bought)
    asked = np.unique(split.train.product_rows)[:20]
    theirs = trained[0](RecQuery(user_id=5), ItemList(item_ids=asked.astype(np.int64))).scores()
    mine = score_rows(model, np.int32([5]), asked[None].astype(np.int32))[0]
    assert np.allclose(mine, theirs, atol=1e-4)


def test_the_lists_are_rectools_own(split):
    pytest.importorskip(
        "rectools.models", reason="RecTools is not installed: pip install 'tastemaker[peers]'"
    )
    import pandas as pd
    from rectools.dataset import Dataset
    from rectools.models import PureSVDModel

    import tastemaker as tm

    model = rectools_svd(split.train, factors=8)
    pairs = pd.DataFrame(
        {"user_id": split.train.user_rows, "item_id": split.train.product_rows}
    ).drop_duplicates()
    pairs = pairs.sort_values(["user_id", "item_id"])
    pairs["weight"], pairs["datetime"] = 1.0, pd.Timestamp("2020-01-01")
    log = Dataset.construct(pairs)
    theirs = PureSVDModel(factors=8).fit(log).recommend([3, 9], log, k=5, filter_viewed=True)
    users = model.users.at(np.array([3, 9]))
    mine = tm.recommend(model, users, k=5).lists
    assert mine.rows.tolist() == theirs["item_id"].tolist()


@pytest.mark.parametrize(("name", "package"), [("lenskit-als", "lenskit"), ("rectools-svd", "rectools")])
def test_a_peer_that_is_not_installed_says_so(split, monkeypatch, name, package):
    from tastemaker.evaluation.comparison import contestants

    monkeypatch.setattr(contestants, "_version_of", lambda _: None)
    assert CONTESTANTS[name].obstacle(split.train) == f"{package} is not installed"
