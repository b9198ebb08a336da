"""A merchandiser's work in Chromium: rules made, priced, published, undone; the catalogue browsed; axe-core finds nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from page_worlds import WIDE, Watched, World, browser, focused, make_world, tab_to, walk, watched
from serving_worlds import Server, serving

from tastemaker.serving.answering.event_store import Events
from tastemaker.serving.front.api_keys import new_key, read_keys
from tastemaker.serving.measuring.experiments import Experiment, arm_of, change_experiments
from tastemaker.serving.measuring.outcome_store import Outcome, Outcomes

Open = Callable[..., contextlib.AbstractContextManager[Watched]]
USER = "c-000007"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def world(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def admin(world: World) -> str:
    return new_key(world.models.parent / "keys.json", "admin")[1]


def _experiment(world: World) -> Path:
    """Return a file of events, with the outcomes of an experiment that has ended, in which every fourth treated visitor bought."""
    now, day = int(time.time() * 1_000_000), 86_400_000_000
    began = now - 12 * day
    one = Experiment(
        "spring", "stable", "canary", (1, 2), 50.0, 0.0, "s", "conversion", 5_000, day,
        began, began + 10 * day, "stopped",
    )  # fmt: skip
    change_experiments(world.models / "shop", lambda _: (one,))
    file = world.models.parent / "events.db"
    with contextlib.closing(Events(file)) as events, contextlib.closing(Outcomes(events)) as kept:
        users = [(f"v{number}", began + number * day // 400) for number in range(3_000)]
        kept.add([Outcome(user, "shown", first) for user, first in users])
        every = {"control": 8, "treatment": 4}
        kept.add(
            [
                Outcome(user, "bought", first + 1, "p", price=9.0)
                for number, (user, first) in enumerate(users)
                if not number % every[arm_of(one, user)]
            ]
        )
        kept.add([Outcome("today", "shown", now), Outcome("today", "clicked", now, "p")])
    return file


@pytest.fixture(scope="module")
def server(world: World, admin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "serve.log"
    keys = world.models.parent / "keys.json"
    events = _experiment(world)
    files = ("--catalogue", world.catalogue, "--keys", keys, "--events", events)
    with serving(world.models, log, *files, "--quiet") as found:
        found.client.headers["Authorization"] = f"Bearer {admin}"
        yield found


@pytest.fixture
def visit(chromium: Any, server: Server, admin: str) -> Open:
    """Open an address with an admin's key; no rules are in force."""
    assert server.client.put("/api/v1/rules", json={}).status_code == 200

    @contextlib.contextmanager
    def opened(address: str = "#/", **options: Any) -> Iterator[Watched]:
        with watched(chromium, f"{server.address}/{address}", **options) as seen:
            seen.expected = ("401", "400", "412", "422")
            seen.page.fill("#key", admin)
            seen.page.keyboard.press("Enter")
            seen.page.wait_for_selector("main h1:not(:has-text('needs a key'))")
            yield seen

    return opened


def rules_of(server: Server) -> dict[str, Any]:
    return server.client.get("/api/v1/rules").json()["rules"]


def ids(page: Any, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.id)")


def make(page: Any, **fields: str) -> None:
    """Open the form of a new rule and fill it in; ``condition`` is a column, a sign and a value."""
    page.click("[data-focus=make]")
    page.wait_for_selector("dialog.editor[open]")
    fill(page, **fields)


def fill(page: Any, **fields: str) -> None:
    for name, value in fields.items():
        if name == "condition":
            page.click("dialog >> text=Condition")
            column, sign, text = value.split(" ", 2)
            page.select_option(".conditions li:last-child select >> nth=0", column)
            page.select_option(".conditions li:last-child select >> nth=1", sign)
            page.fill(".conditions li:last-child input", text)
        elif name == "do":
            page.select_option("#rule-do", value)
        else:
            page.fill(f"#rule-{name}", value)


def test_a_rule_is_made_priced_published_shown_in_the_history_and_undone(
    visit: Open, server: Server, world: World
) -> None:
    category = world.about(world.best[0])["category"]
    with visit("#/rules") as seen:
        page = seen.page
        make(
            page,
            do="bury",
            amount="4",
            condition=f"category is {category}",
            to="2099-12-24",
            name="Less of it",
        )
        page.click("text=Put on trial")
        page.wait_for_selector("#trial >> text=1 rule new")
        page.wait_for_selector(".figures dl")
        wanted = {
            "name": "Less of it",
            "do": "bury",
            "where": {"category": category},
            "places": 4,
            "to": "2099-12-24",
        }
        said = server.client.post("/api/v1/rules/effect", json={"rules": {"rules": [wanted]}}).json()
        assert f"{said['changed']} of {said['customers']}" in page.inner_text(".figures")
        assert rules_of(server) == {}  # on trial, for this page alone
        page.click("#publish")
        page.wait_for_selector("dialog .figures dl")
        page.click("dialog >> text=/^Publish$/")
        page.wait_for_selector("#toast:has-text('The rules are published.')")
        box = page.locator("#toast").bounding_box()
        assert box["width"] > 100  # it is seen
        assert box["height"] > 20
        assert rules_of(server) == {"rules": [wanted]}
        name = read_keys(world.models.parent / "keys.json").keys[0].name
        page.wait_for_selector(f"section:has(#past) >> text=by the key {name}")
        page.click("section:has(#past) li:nth-child(2) >> text=Put back")
        page.wait_for_selector("#trial >> text=1 rule gone")
        page.click("[data-focus=undo]")
        page.wait_for_selector("#trial", state="hidden")


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"amount": "0", "condition": "category is jeans"}, "amount", "must be an integer from 1"),
        ({"amount": "much", "condition": "category is jeans"}, "amount", "must be an integer from 1"),
        ({"condition": "price min cheap"}, "where", "it must be a number"),
        ({"condition": "category is jeans", "from": "2026-12-24", "to": "2026-12-01"}, "to", "before it begins"),
        ({"condition": "category is jeans", "from": "soon"}, "from", "write a date such as"),
        ({}, "where", "names no product"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_stands_at_its_field(
    visit: Open, fields: dict[str, str], field: str, said: str
) -> None:
    with visit("#/rules") as seen:
        page = seen.page
        make(page, **fields)
        page.click("text=Put on trial")
        page.wait_for_selector(f"#wrong-{field}:not(:empty)")
        assert said in page.inner_text(f"#wrong-{field}")
        assert page.locator(".wrong:not(:empty)").count() == 1
        assert page.is_visible("dialog.editor")
        assert page.is_hidden("#trial")


def test_two_people_publish_and_both_changes_are_in_force(visit: Open, server: Server, world: World) -> None:
    with visit("#/rules") as seen:
        page = seen.page
        make(page, do="ban", products=str(world.best[3]))
        page.click("text=Put on trial")
        page.click("#publish")
        other = {"rules": [{"do": "boost", "products": [world.best[0]], "places": 2}], "pin": [world.best[5]]}
        assert server.client.put("/api/v1/rules", json=other).status_code == 200
        page.click("dialog >> text=/^Publish$/")
        page.wait_for_selector("dialog >> text=Somebody else changed the rules meanwhile")
        assert rules_of(server) == other
        page.click("dialog >> text=/^Publish$/")
        page.wait_for_selector("#trial", state="hidden")
        mine = {"do": "ban", "products": [str(world.best[3])]}
        assert rules_of(server) == {**other, "rules": [*other["rules"], mine]}


def test_pins_and_rules_without_effect_are_named(visit: Open, server: Server, world: World) -> None:
    idle = {"do": "boost", "name": "Nobody", "where": {"brand": "nobody"}, "places": 1}
    rules = {"allow": [world.best[0]], "pin": [world.best[1]], "rules": [idle]}
    with visit("#/rules") as seen:
        assert server.client.put("/api/v1/rules", json=rules).status_code == 200
        page = seen.page
        page.reload()
        page.wait_for_selector("text=Without effect: left out, not among those allowed")
        page.click("[data-focus='pause:0']")
        page.click("[data-focus='pause:0']")
        page.click("[data-focus='make']")
        fill(page, do="ban", products=str(world.best[7]))
        page.click("text=Put on trial")
        page.wait_for_selector(".warnings >> text=“Nobody” is about no product")


def test_the_counts_of_a_list_are_the_apis(visit: Open, server: Server, world: World) -> None:
    answer = server.client.post("/api/v1/recommendations/basket", json={"basket": [], "user": USER, "k": 12})
    removed = sum(one["removed"] for one in answer.json()["rules"]["removed"])
    with visit(f"#/customer/{USER}") as seen:
        said = seen.page.inner_text(".basis")
        assert f"{160 - removed} of 160 products may be listed (left out: {removed} bought already)" in said
        seen.page.click("[data-focus=again]")
        seen.page.wait_for_selector(".basis >> text=160 of 160 products may be listed")
        assert "again=1" in seen.page.url


def test_before_and_after_keeps_the_customer_and_a_link_carries_the_trial(
    visit: Open, server: Server, world: World
) -> None:
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        first = ids(page, ".recommendation")[0]
        page.click(".recommendation >> nth=0 >> .act.ban")
        page.click("#trial >> text=Before and after")
        page.wait_for_selector(".compared")
        assert f"user={USER}" in page.url
        assert first in ids(page, ".side.before li")
        assert first not in ids(page, ".side.after li")
        text = page.evaluate(
            "() => import(document.querySelector('link[href*=store]').href).then((store) => store.trialAsText())"
        )
        page.click("#trial >> text=Discard")
        page.wait_for_selector("#trial", state="hidden")
        page.evaluate("address => { location.hash = address; }", f"#/customer/{USER}?trial={text}")
        page.wait_for_selector("#trial >> text=1 banned")
        assert "trial=" not in page.url
        page.evaluate("address => { location.hash = address; }", "#/rules?trial=%%%")
        page.wait_for_selector("text=The trial in this address is damaged")


def test_the_catalogue_is_filtered_sorted_and_saved(visit: Open, server: Server, world: World) -> None:
    catalogue = pl.read_parquet(world.catalogue)
    category = world.about(world.best[0])["category"]
    wanted = catalogue.filter(pl.col("category") == category)
    with visit("#/search") as seen:
        page = seen.page
        assert page.inner_text("#found-products") == "160 products"
        page.click(f"[data-focus='category:{category}']")
        page.wait_for_selector(f"#found-products:has-text('{len(wanted)} product')")
        page.select_option("[data-focus=sort]", "price")
        page.wait_for_selector("[data-focus=sort] >> visible=true")
        seen.settle()
        assert [int(one) for one in ids(page, ".grid > li")] == sorted(
            wanted["product_id"].to_list(),
            key=lambda product: (world.about(product)["price"], world.best.index(product)),
        )
        with page.expect_download() as waited:
            page.click("[data-focus=csv]")
        saved = pl.read_csv(waited.value.path())
        assert saved["product_id"].to_list() == [int(one) for one in ids(page, ".grid > li")]
        address = page.url.partition("/#")[2]
        assert "sort=price" in address
    with visit(f"#{address}") as other:
        assert other.page.inner_text("#found-products") == f"{len(wanted)} products"


def test_the_grid_stays_where_it_is_when_the_basket_opens(visit: Open) -> None:
    with visit() as seen:
        page = seen.page
        page.wait_for_selector(".grid")
        place = "() => JSON.stringify([...document.querySelectorAll('.grid > li')].map((one) => one.getBoundingClientRect().left))"
        before = page.evaluate(place)
        page.click(".grid > li:nth-child(2) .act.basket")
        page.wait_for_selector("#basket ol li")
        assert page.evaluate(place) == before


def test_a_new_tab_of_the_same_browser_has_the_key_and_another_browser_has_not(
    visit: Open, server: Server
) -> None:
    with visit() as seen:
        other = seen.page.context.new_page()
        other.goto(f"{server.address}/#/rules")
        other.wait_for_selector("h1:text-is('Rules')")


ADDRESSES = [
    "#/",
    "#/search?q=wool",
    f"#/customer/{USER}",
    "#/rules",
    f"#/compare?user={USER}&a=1&b=2",
    "#/experiment",
    "#/metrics",
    "editor",
]


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark", "width": 390, "height": 844}],
    ids=["desktop", "phone-dark"],
)
def test_axe_core_finds_no_violation(
    visit: Open, server: Server, world: World, options: dict[str, Any]
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    boost = {"do": "boost", "name": "More", "where": {"price": {"min": 1}}, "places": 1}
    rules = {"pin": [world.best[1]], "rules": [boost]}
    assert server.client.put("/api/v1/rules", json=rules).status_code == 200
    with visit(f"#/product/{world.best[0]}", bypass_csp=True, **options) as seen:
        page = seen.page
        page.wait_for_selector(".product")
        page.click(".product .act.basket")
        page.click(".product .act.pin")
        page.wait_for_selector("#trial")
        found = {}
        for address in ADDRESSES:
            if address == "editor":
                page.evaluate("() => { location.hash = '#/rules'; }")
                page.wait_for_selector("h1:text-is('Rules')")
                page.click("[data-focus=make]")
                page.wait_for_selector("dialog.editor[open]")
            else:
                page.evaluate("address => { location.hash = address; }", address)
                page.wait_for_selector(f"main[data-address='{address}']")
            seen.settle()
            answer = axe.run(
                page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
            )
            found[address] = [
                (one["id"], [node["html"][:140] for node in one["nodes"]])
                for one in answer.response["violations"]
            ]
            assert page.evaluate(WIDE) == [] or address == "editor"
    assert {address: faults for address, faults in found.items() if faults} == {}


def test_the_metrics_are_charts(visit: Open) -> None:
    with visit("#/metrics") as seen:
        said = seen.page.inner_text(".charts")
        assert "Requests by route" in said
        assert "Half are answered within" in said


def test_the_experiment_is_shown_with_the_sentence_of_its_report_and_its_interval_by_day(
    visit: Open, server: Server
) -> None:
    answer = server.client.get("/api/v1/experiment").json()
    with visit("#/experiment") as seen:
        page = seen.page
        assert page.inner_text("h1") == "Experiment spring"
        assert page.inner_text("#verdict") == answer["report"]["verdict"]
        assert page.inner_text("#verdict").startswith("canary is better than stable in conversion")
        found = page.inner_text("main")
        for said in ("stable, version 1", "canary, version 2", "ran 10 days", "p = ", "at every look"):
            assert said in found
        for arm in ("control", "treatment"):
            assert f"{answer['report']['counted'][arm]:,}" in found
        rows = page.eval_on_selector_all(
            "table[data-metrics] tbody tr",
            "all => all.map(one => [...one.cells].map(cell => cell.textContent))",
        )
        low = answer["report"]["differences"]["conversion"]["low"]
        assert [row[0].split(",")[0] for row in rows] == ["click rate", "conversion", "revenue", "margin"]
        assert rows[1][-1].startswith(f"+{float(f'{100 * low:.3g}'):g} pp to +")
        points = page.get_attribute(".narrowing .band", "points").split(" ")
        heights = [float(point.split(",")[1]) for point in points]
        days = len(points) // 2
        assert days == sum(look["conversion"]["low"] is not None for look in answer["report"]["looks"]) > 5
        widths = [heights[place] - heights[-1 - place] for place in range(days)]
        assert widths[-1] < widths[1]
        day = page.inner_text("section.experiment:last-child")
        assert "all visitors\t1\t0\t1\t1\t0\t0\t0.00" in day


# Without a mouse ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_everything_that_can_be_operated_is_reached_by_tab_and_seen(
    visit: Open, server: Server, world: World, width: int
) -> None:
    boost = {"do": "boost", "name": "More", "where": {"price": {"min": 1}}, "places": 1}
    rules = {"pin": [world.best[1], world.best[2]], "deny": [world.best[4]], "rules": [boost]}
    assert server.client.put("/api/v1/rules", json=rules).status_code == 200
    found = {}
    with visit(f"#/product/{world.best[0]}", width=width) as seen:
        page = seen.page
        page.wait_for_selector(".product")
        page.click(".product .act.basket")
        page.click(".product .act.pin")
        page.wait_for_selector("#trial:not([hidden])")
        for address in [
            "#/search?q=a",
            f"#/customer/{USER}",
            "#/rules",
            f"#/compare?user={USER}",
            "#/metrics",
        ]:
            page.evaluate("address => { location.hash = address; }", address)
            page.wait_for_selector(f"main[data-address='{address}']")
            seen.settle()
            page.evaluate("() => { document.activeElement.blur(); }")
            page.evaluate(
                "() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); }"
            )
            found[address] = walk(page)
        page.evaluate("() => { location.hash = '#/rules'; }")
        page.wait_for_selector("main[data-address='#/rules']")
        page.click("[data-focus=make]")
        page.wait_for_selector("dialog[open]")
        seen.settle()
        page.evaluate("() => { document.querySelector('dialog').focus(); }")
        found["editor"] = walk(page)
    assert {address: faults for address, faults in found.items() if faults} == {}


def test_a_rule_is_found_made_published_and_taken_back_without_a_mouse(
    visit: Open, server: Server, world: World
) -> None:
    assert server.client.put("/api/v1/rules", json={}).status_code == 200
    product = world.best[8]
    with visit() as seen:
        page = seen.page
        press = page.keyboard.press
        press("/")
        page.keyboard.type(str(product))
        page.wait_for_selector(f"#found[data-text='{product}'] [role=option]")
        press("ArrowDown")
        press("Enter")
        page.wait_for_selector(".product")
        tab_to(page, ".product .act.pin")
        press("Enter")
        page.wait_for_selector("#trial:not([hidden])")
        assert "pin" in focused(page)  # the focus stays where it was
        tab_to(page, "#views a[href^='#/rules']", back=True)
        press("Enter")
        page.wait_for_selector("h1:text-is('Rules')")
        tab_to(page, "[data-focus=make]")
        press("Enter")
        page.wait_for_selector("dialog.editor[open]")
        tab_to(page, "#rule-do")
        page.keyboard.type("Ban")
        tab_to(page, "#rule-products")
        page.keyboard.type(str(world.best[3]))
        tab_to(page, "dialog [type=submit]")
        press("Space")
        page.wait_for_selector("#trial >> text=1 rule new")
        assert "make" in focused(page)  # where the dialog was opened
        tab_to(page, "#publish")
        press("Enter")
        page.wait_for_selector("dialog[open] .figures dl")
        press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert "publish" in focused(page)
        press("Enter")
        page.wait_for_selector("dialog[open] .figures dl")
        tab_to(page, "dialog .button:not(.quiet)")
        press("Enter")
        page.wait_for_selector("#trial", state="hidden")
        ban = {"do": "ban", "products": [str(world.best[3])]}
        rules = server.client.get("/api/v1/rules").json()["rules"]
        assert (rules["pin"], rules["rules"]) == ([product], [ban])
        page.wait_for_selector("h1:focus")  # what had the focus is gone
        tab_to(page, "section:has(#past) li:nth-child(2) button")
        press("Enter")
        page.wait_for_selector("#trial:not([hidden])")
        tab_to(page, "[data-focus=undo]", back=True)
        press("Enter")
        page.wait_for_selector("#trial", state="hidden")
        page.wait_for_selector("h1:focus")  # what had the focus is gone
