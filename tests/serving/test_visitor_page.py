"""The page of a visitor who bought nothing yet: what is known of them is chosen there, and the list is the API's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_worlds import PALE, UNNAMED, WIDE, browser, watched
from serving_worlds import Server, client_of, serving

import tastemaker as tm
from beside_worlds import log_of
from tastemaker.model.folder import save

SETTLED = {
    "dimensions": 8, "epochs": 6, "tokens.columns": "context:occasion,product:made_for", "kinds.own": "view=5",
    "kinds.after": "", "kinds.taste": "", "kinds.places": 0.0, "kinds.days": 0.0, "live.rate": 1.0, "live.half_life": 240.0,
    "live.fold_in": 0.0, "live.dial": 0.0, "live.young": 0.0,
    "order.taste_places": 8.0, "order.taste_days": 0.0, "order.memory_places": 4.0,
    "order.memory_days": 0.0, "memory.count_weight": 1.0, "memory.ridge_weight": 0.0, "memory.directed_weight": 0.0,
    "memory.spectral_weight": 0.0, "trend.weight": 0.0, "repeats.weight": 0.0, "repeats.sales": 0.0, "repeats.level": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save(tm.train(log_of(), tm.preset("default").changed(SETTLED)), folder / "shop" / "1")
    return folder


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(models, tmp_path_factory.mktemp("log") / "serve.log", "--quiet") as found:
        yield found


def listed(server: Server, **body: object) -> list[str]:
    answer = server.client.post("/api/v1/recommendations/basket", json={"basket": [], "k": 12, **body})
    return [str(one["product"]) for one in answer.json()["recommendations"]]


def shown(page: Any, wanted: list[str]) -> bool:
    for _ in range(300):
        if page.eval_on_selector_all(".recommendation", "all => all.map(one => one.dataset.id)") == wanted:
            return True
        page.wait_for_timeout(50)
    return False


def test_the_page_is_told_what_the_model_understands_of_a_visitor(models: Path) -> None:
    with client_of(models) as client:
        found = client.get("/api/page/known").json()
    assert found["context"] == [{"name": "occasion", "values": ["beach", "office", "sport", "wedding"]}]
    assert (found["attributes"], found["viewed"]) == ([], True)


def test_a_model_of_pairs_alone_understands_nothing_more(tmp_path: Path) -> None:
    save(tm.best_sellers(log_of()), tmp_path / "models" / "shop" / "1")
    with client_of(tmp_path / "models") as client:
        found = client.get("/api/page/known").json()
    assert (found["context"], found["attributes"], found["viewed"]) == ([], [], False)


def test_a_visitor_of_whom_only_the_occasion_is_known_gets_the_list_of_the_api(server: Server) -> None:
    with browser() as chromium, watched(chromium, f"{server.address}/") as seen:
        page = seen.page
        page.click("a[data-focus=visitor]")
        page.wait_for_selector("select")
        page.select_option("select[data-focus='c.occasion']", "wedding")
        assert shown(page, listed(server, context={"occasion": "wedding"}))
        assert "occasion wedding" in page.inner_text(".recommendation .because")
        page.fill("input[data-focus=v]", "office-01")
        page.press("input[data-focus=v]", "Enter")
        assert shown(page, listed(server, context={"occasion": "wedding"}, viewed=["office-01"]))
        assert "c.occasion=wedding" in page.evaluate("location.hash")
        for fault in (UNNAMED, PALE, WIDE):
            assert page.evaluate(fault) == []
        page.go_back()
        assert shown(page, listed(server, context={"occasion": "wedding"}))
