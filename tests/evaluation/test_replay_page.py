from __future__ import annotations

import re

import numpy as np
import pytest
from replay_worlds import dated, random_shop

from tastemaker.errors import SettingProblem
from tastemaker.evaluation.page.replay_page import mosaic, replay_page
from tastemaker.evaluation.replay.bench import Terms
from tastemaker.evaluation.replay.compare import compare_replay
from tastemaker.model.folder import save
from tastemaker.training.baselines.best_sellers import best_sellers
from tastemaker.training.baselines.co_purchase import co_purchase


@pytest.fixture(scope="module")
def shop():
    return random_shop(11)


@pytest.fixture(scope="module")
def found(shop):
    return compare_replay(
        *shop, models=["co-purchase", "best-sellers"], terms=Terms(include_purchased=True, at=(3, 10))
    )


def test_the_chosen_model_is_tested_against_everything_else(found):
    assert found.chosen == "co-purchase"
    assert [test.other for test in found.tests] == [name for name in found.measured if name != "co-purchase"]
    for test in found.tests:
        assert test.metric == "ndcg@10"
        assert test.paired.first == pytest.approx(found.report.metrics["ndcg@10"].mean)
        assert test.paired.second == pytest.approx(found.measured[test.other].whole.metrics["ndcg@10"].mean)


def test_tiles_are_as_wide_as_their_share_of_the_demand(found):
    tiles = mosaic(found, "hit_rate@3")
    assert sum(tile.width for tile in tiles) == pytest.approx(100)
    assert [tile.left for tile in tiles] == pytest.approx(
        [sum(earlier.width for earlier in tiles[:i]) for i in range(len(tiles))]
    )
    parts = {part.label: part for part in found.report.model.segments if part.purchases}
    for tile in tiles:
        part = parts[tile.name]
        assert tile.width == pytest.approx(100 * part.purchases / found.report.purchases)
        assert tile.height == pytest.approx(100 * part.metrics["hit_rate@3"].mean)


def test_the_page_holds_every_number_and_no_script(found):
    page = replay_page(found, command="tastemaker <&>")
    assert "tastemaker &lt;&amp;&gt;" in page
    assert "<script" not in page
    assert "http" not in re.sub(r"<meta http-equiv[^>]*>", "", page)
    for name, measured in found.measured.items():
        assert name in page
        assert f"{measured.whole.metrics['ndcg@10'].mean:.4f}" in page
    assert "Does it age?" in page
    assert "Each week is named by its first day." in page
    weeks = page[page.index("Does it age?") : page.index("How much must be known")]
    for part in found.report.model.weeks:
        assert f"<th>{part.label}</th>" in weeks
        assert f'<td class="number">{part.purchases:,}</td>' in weeks
    for part in found.report.model.by_known:
        assert (f"<th>{part.label}</th>" in page) == bool(part.purchases)
    for tile in mosaic(found, "hit_rate@10"):
        assert all(f">{line}</text>" in page for line in tile.name.split(", ")) or tile.width < 10
    for part in found.report.baselines["recent best sellers"].weeks:
        assert (
            f"{part.metrics['ndcg@10'].mean:.4f}" in weeks
        )  # a rule that does not age stands beside the model


def test_a_page_of_one_day_has_no_course():
    train = dated([("ann", "hat", 0), ("bob", "sock", 0), ("cid", "tie", 0)])
    found = compare_replay(train, dated([("zoe", "hat", 3)]), models=["best-sellers"])
    page = replay_page(found)
    assert "Does it age?" not in page
    assert "The demand, and how much of it is served" in page


def test_a_folder_of_the_same_log_takes_part_and_one_of_another_is_refused(shop, tmp_path):
    train, later = shop
    same = save(co_purchase(train), tmp_path / "same")
    found = compare_replay(train, later, models=["best-sellers", same])
    assert list(found.others) == [str(same)]
    other = save(best_sellers(train.take(np.arange(50))), tmp_path / "other")
    with pytest.raises(SettingProblem, match="another log than TRAIN"):
        compare_replay(train, later, models=[other])
