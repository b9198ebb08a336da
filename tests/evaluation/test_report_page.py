"""The comparison's page: whole, honest about hostile names, and well in a real browser."""

from __future__ import annotations

import dataclasses
import re
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

import tastemaker as tm
from tastemaker.data.reading.product_table import empty_table, read_product_table
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.comparison.compare import compare
from tastemaker.evaluation.page.charts import Dot, Line, StripRow, line_chart, strip
from tastemaker.evaluation.page.models import _best, colours, ranked
from tastemaker.evaluation.page.products import NAMED, Names, alike, examples, exposure
from tastemaker.evaluation.page.report_page import report_page, write_page
from tastemaker.evaluation.page.scales import linear, logarithmic

HOSTILE = """<script>alert(1)</script> "'&</style></title><img src=x onerror=alert(2)>"""


@pytest.fixture(scope="module")
def found(split, model_folder):
    return compare(
        split.train,
        split.held_out,
        models=[str(model_folder), "co-purchase"],
        measure=tm.Measurement(metrics=["ndcg@10", "recall@20"]),
    )


@pytest.fixture(scope="module")
def names(shop, split):
    hostile = shop.catalogue.with_columns(
        (pl.col("name") + HOSTILE).alias("name"), (pl.col("category") + "<i>").alias("category")
    )
    return read_product_table(hostile, split.train.products)


@pytest.fixture(scope="module")
def page(found, split, names):
    return report_page(
        found,
        split.train,
        split.held_out,
        products=names,
        command=f"tastemaker compare {HOSTILE}",
        now=datetime(2026, 11, 24, tzinfo=UTC),
    )


class Seen(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_the_verdict_comes_first_and_every_model_is_in(page, found):
    top = re.sub(r"[\u2060]", "", page.split("<h2>")[0]).replace("\u00a0", " ")
    for sentence in re.split(r"(?<=\.) (?=In )", found.verdict):
        assert sentence in top
    for entry in found.entries:
        value = entry.report.metrics["ndcg@10"]
        assert f"{value.mean:.4f}" in page
        assert f"{value.low:.4f}" in page
    assert all(fingerprint in page for fingerprint in found.fingerprints)


def test_what_comes_from_data_is_text_and_nothing_else(page):
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    tags = Seen(page).tags
    assert [tag for tag, _ in tags].count("script") == 0
    assert [tag for tag, _ in tags].count("style") == 1
    assert not {"img", "link", "iframe", "i", "object", "base"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_the_curve_of_the_long_tail_names_the_dial_that_costs_nothing_that_shows(page):
    figure = next(one for one in re.findall(r"<figure.*?</figure>", page, re.S) if "--tail" in one)
    assert "surely less than 1%" in figure


def test_nothing_is_fetched_from_anywhere(page):
    addresses = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
    assert not [name for _, attributes in Seen(page).tags for name in attributes if name in addresses]
    assert not re.search(r"url\(|@import", page)
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "default-src 'none'" in page


def test_every_drawing_has_a_title_a_description_and_its_numbers_in_a_table(page):
    drawings = re.findall(r'<svg role="img" aria-labelledby="([^"]+)">(.*?)</desc>', page, re.S)
    assert len(drawings) > 10
    for identifiers, inside in drawings:
        assert [f'id="{identifier}"' in inside for identifier in identifiers.split()] == [True, True]
    every = re.findall(r'id="([^"]+)"', page)
    assert len(every) == len(set(every))
    for figure in re.findall(r"<figure.*?</figure>", page, re.S):
        assert "<details>" in figure
        assert "<table>" in figure


def test_a_page_without_a_catalogue_vectors_or_rivals_is_whole(split):
    alone = compare(split.train, split.held_out, models=["best-sellers"], measure=tm.Measurement(at=[10]))
    page = report_page(alone, split.train, split.held_out)
    assert "best-sellers stands alone in ndcg@10" in page
    assert 'class="scroll alike"' not in page
    assert "Which differences are real" not in page


def test_a_chosen_model_that_was_left_out_is_said_to_be(split, monkeypatch):
    from dataclasses import replace

    from tastemaker.evaluation.comparison import contestants as room

    large = replace(room.CONTESTANTS["cosine"], name="large", most_products=1)
    monkeypatch.setattr(room, "CONTESTANTS", {"large": large, **room.CONTESTANTS})
    found = compare(split.train, split.held_out, models=["large"], measure=tm.Measurement(at=[10]))
    page = report_page(found, split.train, split.held_out)
    assert "<h1>large was not measured.</h1>" in page
    assert "left out: more than 1 products" in page


def test_the_shares_shown_are_those_of_the_lists(found, split):
    drawn = exposure(found, split.train, split.held_out)
    model = tm.best_sellers(split.train)
    users = np.unique(split.held_out.user_rows)
    shown = tm.recommend(model, model.users.at(users), k=10).lists
    buyers = model.product_bias
    order = np.argsort(-buyers, kind="stable")
    above = np.cumsum(buyers[order]) - buyers[order]
    head = {int(row) for row, before in zip(order, above, strict=True) if before < buyers.sum() / 3}
    [best] = [row for row in drawn.rows if row.name == "best-sellers"]
    assert best.shares[0] == pytest.approx(np.mean([row in head for row in shown.rows.tolist()]), abs=0.02)
    assert all(sum(row.shares) == pytest.approx(1) for row in drawn.rows)


def test_where_all_models_are_alike_none_is_called_the_best():
    assert _best([Dot("a", "chosen", 0.0, 0.0, 0.0), Dot("b", "floor", 0.0, 0.0, 0.0)]) == "all alike: 0.0000"
    assert _best([Dot("a", "chosen", 0.1, 0.0, 0.2), Dot("b", "floor", 0.2, 0.2, 0.2)]) == "best: b 0.2000"


def test_examples_tick_what_was_bought_later(found, split, names):
    told = examples(found, split.train, split.held_out, Names(names))
    assert 1 <= len(told) <= 4
    rival = next(entry.name for entry in ranked(found) if entry.name != found.chosen)
    later = {}
    for user, product in zip(split.held_out.user_rows, split.held_out.product_rows, strict=True):
        later.setdefault(str(split.train.users.ids[int(user)]), set()).add(Names(names).of(int(product)))
    for told_of in told:
        assert [name for name, _ in told_of.lists] == [found.chosen, rival]
        for _, products in told_of.lists:
            assert [product.hit for product in products] == [
                product.name in later[told_of.user] for product in products
            ]


def test_the_nearest_products_of_the_best_sellers_are_named(split, found, page):
    """The page names what `similar` finds by cosine for the products that the most users bought."""
    model = found.of(found.chosen).model
    buyers = tm.best_sellers(split.train).product_bias
    told = alike(found, split.train, Names(empty_table(split.train.products)))
    assert len(told) == 10
    for group, row in zip(told, np.argsort(-buyers, kind="stable"), strict=False):
        product = model.products.ids[int(row)]
        assert group.name == str(product)
        near = tm.similar(model, product, k=4, similarity="cosine").of(0)
        assert list(group.near) == [str(other) for other, _ in near]
    assert re.search(r'<div class="scroll alike">(.*?)</div>', page, re.S)[1].count("<tr>") == 11


def test_what_was_bought_later_is_counted_where_it_is_not_named(split, found):
    names = Names(empty_table(split.train.products))
    told = examples(found, split.train, split.held_out, names)
    user = split.train.users.ids.index_of(told[0].user)
    rows = np.full_like(split.held_out.user_rows, user)
    many = examples(found, split.train, dataclasses.replace(split.held_out, user_rows=rows), names)[0]
    products = len(set(split.held_out.product_rows.tolist()))
    assert (len(many.later), many.more_later) == (NAMED, products - NAMED)
    for example in told:
        later = split.held_out.user_rows == split.train.users.ids.index_of(example.user)
        assert len(example.later) + example.more_later == len(
            set(split.held_out.product_rows[later].tolist())
        )


def test_marks_stand_at_round_numbers_within_the_axis():
    axis = linear([0.0343, 0.0126])
    assert [tick.label for tick in axis.ticks] == ["0", "0.01", "0.02", "0.03"]
    assert axis(0.0) == 0
    assert axis(0.035) == 100
    assert [tick.label for tick in linear([-0.02, 0.05]).ticks][:2] == ["-0.02", "0"]
    assert linear([]).ticks
    assert linear([0.0, 0.0])(0.0) == 0
    assert logarithmic(1, 10)(10) == 100


def test_a_line_goes_from_corner_to_corner():
    chart = line_chart("t", "n", [Line("a", "hue0", ((1, 0.0), (10, 1.0)))], logarithmic(1, 10), x_name="k")
    assert chart.path(chart.lines[0]) == "0.00,100.00 100.00,0.00"
    drawn = strip("t", "n", [StripRow("a", "", "", (Dot("a", "hue0", 1.0, 0.5, 1.5),))], zero=True)
    [spot] = drawn.placed(drawn.rows[0])
    assert (drawn.zero, spot.low, spot.high) == (0, pytest.approx(100 / 3), 100)


def test_every_model_has_a_colour_of_its_own(found):
    given = colours(found)
    assert given[found.chosen] == "chosen"
    assert given["best-sellers"] == "floor"
    assert len(set(given.values())) == len(given)


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    assert write_page("<p>", tmp_path / "page.html").read_text() == "<p>"
    with pytest.raises(SettingProblem, match="there is no folder"):
        write_page("<p>", tmp_path / "nowhere" / "page.html")
    with pytest.raises(UnicodeEncodeError):
        write_page("\ud800", tmp_path / "other.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium to open the page in")
    with playwright.sync_playwright() as room:
        opened = room.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (360, "light")])
def test_a_real_browser_is_content(browser, page, tmp_path, width, scheme):
    file = write_page(page, tmp_path / "page.html")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    for details in opened.query_selector_all("details"):
        details.evaluate("one => { one.open = true }")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    for drawing in opened.query_selector_all('svg[role="img"]'):
        box = drawing.bounding_box()
        assert box["width"] > 100
        assert box["height"] > 10
    assert said == []
    assert asked == [file.as_uri()]
    context.close()
