"""What values look like: vectors with their ids, frames, one line in a prompt, a page in a notebook."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.errors import ColumnProblem, UnknownId

VOID = {"br", "line", "circle", "progress"}


class Checked(HTMLParser):
    """Takes HTML whose tags open and close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    page = Checked()
    page.feed(html)
    assert page.open == []
    return " ".join(page.text)


@pytest.fixture(scope="module")
def composed(split):
    """A model of composed users without a memory, whose score is vectors and bias alone."""
    return tm.train(
        split.train,
        "default",
        epochs=3,
        dimensions=16,
        count_weight=0,
        ridge_weight=0,
        directed_weight=0,
        trend_weight=0,
    )


@pytest.fixture(scope="module")
def explained(split):
    return tm.train(
        split.train,
        "default",
        epochs=2,
        dimensions=8,
        count_weight=1,
        ridge_weight=0,
        directed_weight=0,
        trend_weight=0,
    )


# Vectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["composed", "workshop_model"])
def test_vectors_and_bias_in_an_index_give_the_lists_of_recommend(request, kind):
    faiss = pytest.importorskip("faiss")
    model = request.getfixturevalue(kind)
    assert model.memory is None or not len(model.memory.products)
    ids, products = model.product_embeddings(bias=True)
    asked, queries = model.user_embeddings(bias=True)
    index = faiss.IndexFlatIP(products.shape[1])
    index.add(products)
    scores, rows = index.search(queries, len(ids))
    lists = tm.recommend(model, asked, k=10)
    bought = [set(model.histories.of(user).tolist()) for user in range(len(model.users))]
    for user in range(len(asked)):
        left = [
            (row, score)
            for row, score in zip(rows[user], scores[user], strict=True)
            if row not in bought[user]
        ]
        mine = lists.of(user)
        assert np.allclose([score for _, score in mine], [score for _, score in left[:10]], atol=1e-5)
        for (product, score), (row, other) in zip(mine, left, strict=False):
            assert product == ids[int(row)] or abs(score - other) < 1e-5  # a tie may be told either way


def test_vectors_are_those_of_the_model_with_ids(composed):
    ids, vectors = composed.product_embeddings()
    assert ids.to_list() == composed.products.ids.to_list()
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, composed.product_vectors)
    some = composed.products.ids[[5, 2]]
    assert np.array_equal(composed.product_embeddings(some).vectors, vectors[[5, 2]])
    user = composed.users.ids[4]
    embedding = composed.user_embeddings(user)
    own = composed.products.at(composed.histories.of(4)).to_list()
    assert np.array_equal(embedding.vectors, composed.basket_embeddings([own]).vectors)
    expected = vectors[composed.histories.of(4)].sum(0) / len(own) ** composed.damping
    assert np.allclose(embedding.vectors[0], expected, atol=1e-6)
    frame = composed.user_embeddings().to_frame()
    assert frame.columns == ["user_id", "vector"]
    assert frame["vector"].dtype == pl.Array(pl.Float32, composed.dimensions)
    with pytest.raises(UnknownId):
        composed.product_embeddings(["no such thing"])


# Frames -------------------------------------------------------------------------------------------------------


def test_a_log_comes_out_as_it_went_in(shop):
    log = shop.purchases
    frame = log.to_frame()
    assert frame.columns == ["user_id", "product_id", "time", "quantity"]
    assert tm.read_purchases(frame).fingerprint() == tm.read_purchases(log.to_pandas()).fingerprint()
    again = tm.read_purchases(log.to_arrow(), users=log.users, products=log.products)
    assert again.fingerprint() == log.fingerprint()


def test_a_report_is_a_frame_of_metrics(split, workshop_model):
    report = tm.evaluate(workshop_model, split, at=[5, 10])
    frame = report.to_frame()
    assert frame.columns == ["metric", "k", "mean", "low", "high"]
    row = frame.filter(metric="ndcg", k=10).row(0, named=True)
    interval = report.metrics["ndcg@10"]
    assert (row["mean"], row["low"], row["high"]) == (interval.mean, interval.low, interval.high)
    assert len(frame) == len(report.metrics)
    assert report.to_pandas().equals(frame.to_pandas())


def test_columns_of_the_catalogue_are_joined_on_request(shop, workshop_model):
    lists = tm.recommend(workshop_model, workshop_model.users.ids[:3], k=4, catalogue=shop.catalogue)
    assert lists.to_frame().columns == ["user_id", "product_id", "rank", "score"]
    frame = lists.to_frame(["name", "price"])
    beside = frame.join(shop.catalogue, on="product_id", how="left", maintain_order="left")
    assert frame.columns[4:] == ["name", "price"]
    assert frame["name"].to_list() == beside["name_right"].to_list()
    assert frame["price"].to_list() == beside["price_right"].to_list()
    assert set(lists.to_frame("all").columns) > {"brand", "department"}
    with pytest.raises(ColumnProblem, match="has no column 'weight'"):
        lists.to_frame(["weight"])
    assert (
        "name" in tm.similar(workshop_model, 1_000_001, catalogue=shop.catalogue).to_frame(["name"]).columns
    )


def test_explained_lists_name_the_purchases_that_speak_for_a_product(explained):
    user = explained.users.ids[0]
    lists = tm.recommend(explained, user, k=5, explain=True)
    frame = lists.to_frame()
    own = set(explained.products.at(explained.histories.of(0)).to_list())
    assert any(frame["because"].list.len() > 0)
    assert all(set(products) <= own for products in frame["because"].to_list())
    reason = lists.about(0).reasons[0]
    strongest = explained.products.at(np.array([reason.purchases[0].row]))[0]
    assert frame["because"][0][0] == strongest


# In a line and on a page --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def values(shop, split, workshop_model):
    later = tm.read_held_out(split.held_out.to_frame(), split.train.users, split.train.products)
    times = shop.purchases.times
    timed = tm.hold_out_time(shop.purchases)
    assert times is not None
    return {
        "log": shop.purchases,
        "vocabulary": shop.purchases.users,
        "split": split,
        "held": later,
        "model": workshop_model,
        "report": tm.evaluate(workshop_model, split),
        "lists": tm.recommend(workshop_model, workshop_model.users.ids[:20], catalogue=shop.catalogue),
        "similar": tm.similar(workshop_model, workshop_model.products.ids[:2]),
        "comparison": tm.compare(split.train, split.held_out, models=["co-purchase"]),
        "replay": tm.replay(tm.best_sellers(timed.train), timed.held_out, beside=[]),
        "shop": shop,
    }


@pytest.mark.parametrize(
    "name", ["log", "vocabulary", "split", "held", "model", "report", "lists", "similar", "replay", "shop"]
)
def test_a_prompt_shows_a_line(values, name):
    line = repr(values[name])
    assert "\n" not in line
    assert len(line) < 300, line


def test_a_comparison_is_its_verdict(values):
    found = values["comparison"]
    assert found.verdict in repr(found)
    assert len(repr(found)) < len(found.verdict) + 120
    frame = found.to_frame()
    assert set(frame["model"]) == {"best-sellers", "co-purchase"}
    mean = found.of("co-purchase").report.metrics["recall@10"].mean
    assert frame.filter(model="co-purchase", metric="recall", k=10)["mean"].item() == mean


def test_a_replay_is_a_frame_with_segments(values):
    frame = values["replay"].to_frame()
    whole = frame.filter(model="model", segment="all", metric="hit_rate", k=10)
    assert whole["mean"].item() == values["replay"].metrics["hit_rate@10"].mean
    assert whole["purchases"].item() == values["replay"].purchases


@pytest.mark.parametrize(
    "name", ["log", "split", "model", "report", "lists", "similar", "comparison", "replay"]
)
def test_a_notebook_shows_a_page_whose_tags_close(values, name):
    text = read(values[name]._repr_html_())
    expected = {
        "log": "c-00",
        "split": "held out",
        "model": "workshop",
        "report": "ndcg",
        "lists": str(values["lists"].to_frame(["name"])["name"][0]),
        "similar": "similar_id",
        "comparison": values["comparison"].verdict,
        "replay": "hit_rate@10",
    }[name]
    assert expected in text


def test_a_report_draws_every_interval_from_zero(values):
    report = values["report"]
    drawn = re.findall(r"<title>([\d.]+) \(([\d.]+)–([\d.]+)\)</title>", report._repr_html_())
    real = [value for value in report.metrics.values() if value.low != value.high]
    assert sorted(drawn) == sorted((f"{v.mean:.4f}", f"{v.low:.4f}", f"{v.high:.4f}") for v in real)


def test_what_a_catalogue_says_is_text_to_a_notebook():
    log = pl.DataFrame({"user": ["<i>a</i>", "b"], "product": ["<script>x</script>", "hat"]})
    model = tm.best_sellers(log)
    names = pl.DataFrame({"product_id": ["<script>x</script>"], "name": ["<img src=x onerror=alert(1)>"]})
    lists = tm.recommend(model, model.users.ids, catalogue=names)
    for value in (lists, model, tm.read_purchases(log)):
        assert not re.search("<(script|img|i)[ >]", value._repr_html_())


def test_ids_keep_their_digits_together(values):
    lists = values["lists"]
    product = lists.to_frame()["product_id"][0]
    assert product > 1_000_000
    assert f">{product}<" in lists._repr_html_()


def test_vectors_hold_attributes_too(shop):
    """Of a model of attributes, whose product is one row still, the vectors give all of a score but the memory's part."""
    reading = tm.Reading(product_features=("brand", "category"))
    log = tm.read_purchases(shop.purchases.to_frame(), products=shop.catalogue, reading=reading)
    model = tm.train(log, epochs=2, dimensions=8, effort="quick")
    assert model.tokens is not None
    model = dataclasses.replace(model, memory=None)
    users, queries = model.user_embeddings(bias=True)
    products, vectors = model.product_embeddings(bias=True)
    assert np.allclose(tm.score(model, users, products), queries @ vectors.T, atol=1e-5)
    basket = model.basket_embeddings([[products[3], products[8]]], bias=True).vectors
    lists = tm.recommend_baskets(model, [[products[3], products[8]]], k=1)
    assert lists.of(0)[0][1] == pytest.approx(np.delete((basket @ vectors.T)[0], [3, 8]).max(), abs=1e-5)
