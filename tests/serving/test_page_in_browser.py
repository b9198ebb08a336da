"""The page in Chromium, against a server in its own process: what people see and do, and what a hostile catalogue cannot."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from page_worlds import (
    HARM,
    HARMFUL_USER,
    PALE,
    UNNAMED,
    WIDE,
    Watched,
    World,
    browser,
    make_world,
    watched,
)
from serving_worlds import Server, serving

from tastemaker.serving.front.api_keys import new_key

Open = Callable[..., contextlib.AbstractContextManager[Watched]]
USER = "c-000007"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def world(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with serving(world.models, log, "--catalogue", world.catalogue, "--quiet") as found:
        yield found


@pytest.fixture
def visit(chromium: Any, server: Server) -> Open:
    """Open an address of the page: ``with visit("#/product/7") as seen: seen.page…``."""
    return lambda address="", **options: watched(chromium, f"{server.address}/{address}", **options)


def bought_by(world: World, user: str) -> set[str]:
    log = world.shop.purchases
    row = log.users.ids.to_list().index(user)
    products = log.products.ids.to_list()
    return {str(products[place]) for place in log.product_rows[log.user_rows == row].tolist()}


def listed(server: Server, **body: object) -> list[dict[str, Any]]:
    """What the API lists."""
    answer = server.client.post("/api/v1/recommendations/basket", json={"basket": [], "k": 12, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["recommendations"]


def ids(page: Any, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.id)")


def wait_for_ids(page: Any, selector: str, wanted: list[str]) -> None:
    """Wait until the list is this one."""
    for _ in range(300):
        if ids(page, selector) == wanted:
            return
        page.wait_for_timeout(50)
    assert ids(page, selector) == wanted


def wait_until(page: Any, said: str) -> None:
    """Wait until an expression holds (the page's policy forbids `wait_for_function`, which evaluates in the page)."""
    for _ in range(400):
        if page.evaluate(said):
            return
        page.wait_for_timeout(40)
    assert page.evaluate(said), said


def show(page: Any, address: str) -> None:
    """Go to another address of the page, and wait until its view is there."""
    page.evaluate("address => { location.hash = address; }", address)
    wait_until(page, "document.getElementById('main').dataset.address === location.hash")


# Finding -----------------------------------------------------------------------------------------------------


def test_a_product_is_found_by_name_with_the_keyboard_alone(visit: Open, world: World) -> None:
    product = world.best[8]
    name = world.about(product)["name"]
    with visit() as seen:
        page = seen.page
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "find"
        typed = name[: len(name) - 2].upper()
        page.keyboard.type(typed)
        wait_until(page, f"document.getElementById('found').dataset.text === {json.dumps(typed.strip())}")
        assert page.get_attribute("#find", "aria-expanded") == "true"
        page.keyboard.press("ArrowDown")
        active = page.get_attribute("#find", "aria-activedescendant")
        assert page.get_attribute(f"#{active}", "aria-selected") == "true"
        page.keyboard.press("Enter")
        page.wait_for_selector(f"h1:has-text({json.dumps(name)})")
        assert page.url.endswith(f"#/product/{product}")
        assert page.evaluate("document.activeElement.tagName") == "H1"
        assert page.is_hidden("#found")


def test_what_is_pointed_at_stays_so_when_a_later_answer_has_it_too(visit: Open, world: World) -> None:
    name = world.about(world.best[8])["name"]
    with visit() as seen:
        page = seen.page
        page.fill("#find", name)
        wait_until(page, f"document.getElementById('found').dataset.text === {json.dumps(name)}")
        page.keyboard.press("ArrowDown")
        before = page.inner_text("#found [aria-selected=true]")
        page.keyboard.press("Backspace")
        wait_until(page, f"document.getElementById('found').dataset.text === {json.dumps(name[:-1].strip())}")
        assert page.inner_text("#found [aria-selected=true]") == before
        page.fill("#find", "c-00000")  # customers: the product is no longer there, and nothing is pointed at
        wait_until(page, "document.getElementById('found').dataset.text === 'c-00000'")
        assert page.locator("#found [aria-selected=true]").count() == 0
        assert page.get_attribute("#find", "aria-activedescendant") is None


def test_products_and_customers_are_found_by_the_beginning_of_an_id(visit: Open, world: World) -> None:
    with visit() as seen:
        page = seen.page
        page.fill("#find", "c-00000")
        page.wait_for_selector("#found .person")
        assert page.locator("#found [role=option]").count() == 4
        page.fill("#find", str(world.best[0]))
        page.wait_for_selector(f'#found .id bdi:text-is("{world.best[0]}")')
        page.keyboard.press("Escape")
        assert page.is_hidden("#found")
        page.fill("#find", "no such thing at all")
        page.wait_for_selector("#found .none")
        page.keyboard.press("Enter")
        page.wait_for_selector("main .notice")
        assert "no such thing at all" in page.inner_text("h1")


# Products ----------------------------------------------------------------------------------------------------


def test_a_product_is_shown_with_what_the_catalogue_says_and_its_neighbours(
    visit: Open, world: World, server: Server
) -> None:
    product = world.best[0]
    about = world.about(product)
    similar = server.client.get(f"/api/v1/products/{product}/similar", params={"k": 24}).json()["similar"]
    with visit(f"#/product/{product}") as seen:
        page = seen.page
        assert page.inner_text("h1") == about["name"]
        assert f"{about['price']:.2f}" in page.inner_text(".cost")
        for word in (str(product), about["category"], about["brand"], about["colour"]):
            assert word in page.inner_text(".about")
        assert ids(page, ".grid > li") == [str(entry["product"]) for entry in similar]
        scores = [
            float(text)
            for text in page.locator(".grid .number").all_inner_texts()
            for text in re.findall(r"[\d.]+", text)
        ]
        np.testing.assert_allclose(scores, [entry["score"] for entry in similar], atol=0.006)
        wait_until(page, "document.querySelector('.portrait img').complete")
        assert page.get_attribute(".portrait img", "alt").startswith("Picture of ")


def test_neighbours_by_cosine_have_another_address(visit: Open, world: World) -> None:
    model, product = world.newer, world.best[1]
    vectors = model.product_vectors / np.linalg.norm(model.product_vectors, axis=1, keepdims=True)
    row = model.products.ids.to_list().index(product)
    order = [other for other in np.argsort(-(vectors @ vectors[row]), kind="stable") if other != row][:24]
    with visit(f"#/product/{product}") as seen:
        page = seen.page
        assert not re.search("dot product|cosine|vector", page.inner_text("body"), re.IGNORECASE)
        page.click("text=Taste alone")
        page.wait_for_selector(".choice a[aria-current]:has-text('Taste alone')")
        assert "by=cosine" in page.url
        assert ids(page, ".grid > li") == [str(product) for product in model.products.ids.gather(order)]
        page.go_back()
        page.wait_for_selector(".choice a[aria-current]:has-text('Popular')")


# Customers ---------------------------------------------------------------------------------------------------


def test_a_customer_is_shown_with_what_they_bought_and_what_is_recommended_and_why(
    visit: Open, world: World, server: Server
) -> None:
    wanted = listed(server, user=USER, why=True)
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        assert set(ids(page, ".history li")) == bought_by(world, USER)
        assert ids(page, ".recommendation") == [str(entry["product"]) for entry in wanted]
        speaker = world.about(wanted[0]["reasons"]["purchases"][0]["product"])
        assert speaker["name"][:40] in page.inner_text(".because >> nth=0")
        together = wanted[0]["reasons"]["purchases"][0]["together"]
        assert f"bought together by {together} customer" in page.inner_text(".because >> nth=0")
        page.click("summary >> nth=0")
        table = page.locator(".sum >> nth=0")
        column = [float(text.replace("−", "-")) for text in table.locator("td:last-child").all_inner_texts()]
        assert column[-1] == pytest.approx(wanted[0]["score"], abs=0.006)
        assert sum(column[:-1]) == pytest.approx(column[-1], abs=0.006 * len(column))


def test_pointing_at_a_recommendation_lights_up_the_purchases_that_speak_for_it(
    visit: Open, server: Server
) -> None:
    wanted = listed(server, user=USER, why=True)
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        page.hover(".recommendation >> nth=0")
        speakers = {str(purchase["product"]) for purchase in wanted[0]["reasons"]["purchases"]}
        assert set(ids(page, ".history .lit")) == speakers


def test_another_customer_comes_at_random_and_the_back_button_returns(visit: Open) -> None:
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        for _ in range(5):
            page.click("[data-focus=random]")
            wait_until(page, f"!location.hash.endsWith('{USER}') && /customer.(c|\\.)/.test(location.hash)")
            page.go_back()
            page.wait_for_selector(f"h1:has-text('{USER}')")
        page.keyboard.press("r")
        wait_until(page, f"!location.hash.includes('{USER}')")


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "nonesuch"])
def test_an_address_that_names_no_view_says_so(visit: Open, name: str) -> None:
    with visit(f"#/{name}") as seen:
        seen.page.wait_for_selector("h1:has-text('There is no such view')")


def test_a_customer_whom_the_model_does_not_know_gets_best_sellers_and_is_told_so(visit: Open) -> None:
    with visit("#/customer/stranger") as seen:
        page = seen.page
        assert "Best sellers" in page.inner_text(".basis")
        assert "knows no purchase" in page.inner_text(".history")
        assert page.locator(".recommendation").count() == 12
        seen.expected = ("404",)


# The basket --------------------------------------------------------------------------------------------------


def test_what_goes_with_the_basket_follows_each_click_and_can_be_shared(
    visit: Open, world: World, server: Server
) -> None:
    with visit() as seen:
        page = seen.page
        basket: list[int] = []
        for place in (2, 5):
            product = int(ids(page, ".grid > li")[place])
            basket.append(product)
            page.click(f".grid > li:nth-child({place + 1}) .act.basket")
            wanted = [str(entry["product"]) for entry in listed(server, basket=basket, k=8)]
            wait_for_ids(page, "#basket ol li", wanted)
            page.wait_for_selector(f".grid > li:nth-child({place + 1}) .act.basket[aria-pressed='true']")
        assert page.evaluate("document.activeElement.dataset.focus") == f"basket:{basket[1]}"
        page.click("#basket >> text=Open")
        page.wait_for_selector(".recommendation")
        wanted = [str(entry["product"]) for entry in listed(server, basket=basket)]
        wait_for_ids(page, ".recommendation", wanted)
        address = page.url.partition("/#")[2]
    with visit(f"#{address}") as other:
        wait_for_ids(other.page, ".recommendation", wanted)
        other.page.click(".history .act >> nth=0")
        wait_for_ids(
            other.page,
            ".recommendation",
            [str(entry["product"]) for entry in listed(server, basket=basket[1:])],
        )
        assert other.page.url.endswith(f"#/basket?p={basket[1]}")


# Versions ----------------------------------------------------------------------------------------------------


def test_two_versions_are_compared_and_every_move_is_marked(visit: Open, server: Server) -> None:
    before = [entry["product"] for entry in listed(server, user=USER, k=20, version=1)]
    after = [entry["product"] for entry in listed(server, user=USER, k=20, version=2)]
    assert before != after
    with visit(f"#/compare?user={USER}&a=1&b=2") as seen:
        page = seen.page
        assert ids(page, ".side.before li") == list(map(str, before))
        assert ids(page, ".side.after li") == list(map(str, after))
        for place, product in enumerate(after):
            moved = before.index(product) - place if product in before else None
            mark = {None: "new", 0: ""}.get(
                moved, f"{'up' if (moved or 0) > 0 else 'down'} by {abs(moved or 0)}"
            )
            assert (
                page.locator(f".side.after li:nth-child({place + 1})").get_by_text(mark).count() or not mark
            )
        gone = page.eval_on_selector_all(
            ".side.before .gone[data-id]", "all => all.map(one => one.dataset.id)"
        )
        assert gone == [str(product) for product in before if product not in after]
        page.select_option("select[name=b]", "1")
        page.wait_for_selector("text=Both lists are the same 20 products.")
        assert "b=1" in page.url


def test_an_older_version_can_be_shown_and_stays_in_the_links(visit: Open, server: Server) -> None:
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        page.select_option(".served select", json.dumps(["shop", 1], separators=(",", ":")))
        wait_for_ids(
            page, ".recommendation", [str(entry["product"]) for entry in listed(server, user=USER, version=1)]
        )
        assert page.url.endswith("?version=1")
        page.click(".recommendation a.name >> nth=0")
        page.wait_for_selector(".product")
        assert page.url.endswith("?version=1")


# Rules -------------------------------------------------------------------------------------------------------


def test_pins_and_bans_are_tried_at_once_and_without_keys_the_page_says_how_to_publish(
    visit: Open, server: Server, world: World
) -> None:
    usual = [str(entry["product"]) for entry in listed(server, user=USER)]
    with visit(f"#/customer/{USER}") as seen:
        page = seen.page
        page.click(".recommendation >> nth=0 >> .act.ban")
        page.wait_for_selector("#trial >> text=1 banned")
        wait_for_ids(
            page,
            ".recommendation",
            [str(entry["product"]) for entry in listed(server, user=USER, rules={"deny": [usual[0]]})],
        )
        pinned = ids(page, ".recommendation")[6]
        page.click(".recommendation >> nth=6 >> .act.pin")
        wanted = listed(server, user=USER, rules={"deny": [usual[0]], "pin": [pinned]})
        wait_for_ids(page, ".recommendation", [str(entry["product"]) for entry in wanted])
        assert ids(page, ".recommendation")[0] == pinned
        assert "Pinned" in page.inner_text(".recommendation >> nth=0")
        page.reload()
        wait_for_ids(page, ".recommendation", [str(entry["product"]) for entry in wanted])
        page.click("#publish")
        assert "has no keys" in page.inner_text("dialog")
        assert json.loads(page.inner_text("dialog pre >> nth=1")) == {
            "pin": [int(pinned)],
            "deny": [int(usual[0])],
        }
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert [str(entry["product"]) for entry in listed(server, user=USER)] == usual
        page.click("#trial >> text=Before and after")
        page.wait_for_selector(".compared")
        assert page.input_value("select[name=b]") == "2t"
        page.click("#trial >> text=Discard")
        page.wait_for_selector("#trial", state="hidden")


@pytest.fixture
def keyed(world: World, tmp_path: Path) -> Iterator[tuple[Server, str, str]]:
    """A server with keys, whose model has a rule already."""
    models = tmp_path / "models"
    shutil.copytree(world.models, models)
    (models / "shop" / "rules.json").write_text('{"at_most": {"category": 4}}')
    _, admin = new_key(tmp_path / "keys.json", "admin")
    _, reader = new_key(tmp_path / "keys.json", "read")
    options = ("--catalogue", world.catalogue, "--keys", tmp_path / "keys.json", "--quiet")
    with serving(models, tmp_path / "serve.log", *options) as server:
        yield server, admin, reader


def test_with_keys_the_page_asks_for_one_and_publishes_with_an_admins(
    chromium: Any, keyed: tuple[Server, str, str], world: World
) -> None:
    server, admin, reader = keyed
    server.client.headers["Authorization"] = f"Bearer {admin}"
    with watched(chromium, f"{server.address}/#/product/{world.best[0]}") as seen:
        seen.expected = ("401", "403", "412")
        page = seen.page
        assert page.inner_text("h1") == "This server needs a key"
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=does not know this key")
        page.fill("#key", reader)
        page.keyboard.press("Enter")
        page.wait_for_selector(".product")
        page.click(".product .act.pin")
        page.wait_for_selector("#trial >> text=1 pinned")
        page.click("#publish")
        page.wait_for_selector("dialog >> text=needs an admin key")
        page.fill("dialog #key", reader)
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog >> text=a key for reading")
        page.fill("dialog #key", admin)
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog >> text=will follow within a second")
        # somebody else is quicker
        other = {"at_most": {"category": 3}}
        assert server.client.put("/api/v1/rules", json=other).status_code == 200
        page.click("dialog >> text=/^Publish$/")
        page.wait_for_selector("dialog >> text=Somebody else changed the rules")
        page.click("dialog >> text=/^Publish$/")
        page.wait_for_selector("#trial", state="hidden")
        assert server.client.get("/api/v1/rules").json()["rules"] == {**other, "pin": [world.best[0]]}
        page.goto(f"{server.address}/#/customer/stranger")
        page.wait_for_selector(".recommendation")
        assert ids(page, ".recommendation")[0] == str(world.best[0])
        page.goto(f"{server.address}/#/rules")
        page.wait_for_selector("text=At most 3 of one category")
        assert ids(page, "ol.rows li") == [str(world.best[0])]
        seen.expected += ("404",)


def test_the_metrics_are_shown_to_people_with_the_key_that_the_page_holds(
    chromium: Any, keyed: tuple[Server, str, str]
) -> None:
    server, _, reader = keyed
    with watched(chromium, f"{server.address}/") as seen:
        seen.expected = ("401",)
        page = seen.page
        page.fill("#key", reader)
        page.keyboard.press("Enter")
        page.wait_for_selector(".hero")
        page.click("footer >> text=Metrics")
        page.wait_for_selector("h1:text-is('Metrics')")
        assert page.url == f"{server.address}/#/metrics"
        said = page.text_content("main pre")
        assert 'tastemaker_model_default{model="shop",version="2"} 1.0' in said
        assert reader not in page.content()
        assert page.evaluate(WIDE) == []
    with watched(chromium, f"{server.address}/#/metrics") as seen:  # another tab, which has no key yet
        seen.expected = ("401",)
        page = seen.page
        assert page.inner_text("h1") == "This server needs a key"
        page.fill("#key", reader)
        page.keyboard.press("Enter")
        page.wait_for_selector("main pre:has-text('tastemaker_requests_total')", state="attached")


def test_without_keys_the_metrics_are_shown_too(visit: Open) -> None:
    with visit("#/metrics") as seen:
        assert "# TYPE tastemaker_requests_total counter" in seen.page.text_content("main pre")


# What goes wrong ---------------------------------------------------------------------------------------------


def test_an_unknown_product_and_an_unknown_view_are_named_plainly(visit: Open) -> None:
    for address, words in (
        ("#/product/nothing", "There is no product nothing"),
        ("#/nowhere", "no such view"),
    ):
        with visit(address) as seen:
            seen.expected = ("404",)
            assert words in page_text(seen)
            assert seen.page.get_by_role("button", name="Try again").is_visible()


def test_a_server_that_does_not_answer_is_named_plainly_and_can_be_tried_again(
    visit: Open, world: World
) -> None:
    with visit() as seen:
        page = seen.page
        seen.expected = ("ERR_FAILED",)
        page.route("**/api/**", lambda route: route.abort())
        page.click(".grid a.name >> nth=0")
        page.wait_for_selector("text=The server does not answer")
        page.unroute("**/api/**")
        page.click("text=Try again")
        page.wait_for_selector(".product")


def test_while_an_answer_is_awaited_its_place_is_held(visit: Open) -> None:
    with visit() as seen:
        page = seen.page
        held: list[Any] = []
        page.route("**/similar*", lambda route: held.append(route))
        page.click(".grid a.name >> nth=0")
        page.wait_for_selector("main[aria-busy] .bone")
        for route in held:
            route.continue_()
        page.wait_for_selector(".product")
        assert page.get_attribute("main", "aria-busy") is None


def test_the_way_back_leads_to_the_same_place(visit: Open) -> None:
    with visit(height=500) as seen:
        page = seen.page
        page.locator(".grid a.name >> nth=11").scroll_into_view_if_needed()
        place = page.evaluate("scrollY")
        assert place > 100
        page.click(".grid a.name >> nth=11")
        page.wait_for_selector(".product")
        assert page.evaluate("scrollY") == 0
        page.go_back()
        page.wait_for_selector("text=Best sellers of all time")
        assert page.evaluate("scrollY") == pytest.approx(place, abs=2)


def page_text(seen: Watched) -> str:
    return seen.page.inner_text("main")


# A catalogue that means harm, and none at all ------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "hostile.log"
    with serving(world.models, log, "--catalogue", world.hostile, "--quiet") as found:
        yield found


def everywhere(world: World, user: str = USER) -> list[str]:
    """One address of each view, in which what sells best is shown."""
    a, b, c = world.best[:3]
    return [
        "#/",
        "#/search?q=" + quote(HARM[0]),
        f"#/product/{c}",
        f"#/customer/{quote(user, safe='')}",
        f"#/basket?p={a}&p={b}&p={c}&p={quote(HARM[1])}",
        f"#/compare?product={a}&a=1&b=2",
        f"#/compare?user={quote(user, safe='')}",
        "#/rules",
        "#/metrics",
    ]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_of_a_hostile_catalogue_runs_or_stands_out_of_the_window(
    chromium: Any, hostile: Server, world: World, width: int
) -> None:
    with watched(chromium, f"{hostile.address}/", width=width) as seen:
        page = seen.page
        for place in range(4):
            page.click(f".grid > li:nth-child({place + 1}) .act.{['basket', 'pin', 'ban', 'basket'][place]}")
        for address in everywhere(world, HARMFUL_USER):
            show(page, address)
            assert page.evaluate(WIDE) == [], address
            assert page.evaluate("document.documentElement.scrollWidth") == width, address
            assert (
                page.evaluate(
                    "document.querySelectorAll('main script, main iframe, main object, main [onerror], main [onload]').length"
                )
                == 0
            )
            for source in page.eval_on_selector_all("img", "all => all.map(one => one.getAttribute('src'))"):
                assert source.startswith("data:image/")
            for link in page.eval_on_selector_all(
                "main a, aside a", "all => all.map(one => one.getAttribute('href'))"
            ):
                assert link.startswith("#/")
        page.fill("#find", "script")
        page.wait_for_selector("#found [role=option]")
        assert page.evaluate(WIDE) == []
        seen.expected = ("404",)  # the product that is not there


def test_a_hostile_name_is_shown_as_it_is(chromium: Any, hostile: Server, world: World) -> None:
    with watched(chromium, f"{hostile.address}/") as seen:
        for product, name in zip(world.best, HARM, strict=False):
            show(seen.page, f"#/product/{product}")
            assert seen.page.text_content("h1") == name.strip()


def test_a_customer_whose_id_is_no_plain_word_has_an_address(
    chromium: Any, hostile: Server, world: World
) -> None:
    with watched(chromium, f"{hostile.address}/#/customer/{quote(HARMFUL_USER, safe='')}") as seen:
        assert seen.page.text_content("h1") == f"Customer {HARMFUL_USER}"
        assert set(ids(seen.page, ".history li")) == bought_by(world, HARMFUL_USER)


def test_without_a_catalogue_there_are_ids_and_drawn_tiles(
    chromium: Any, world: World, tmp_path: Path
) -> None:
    with (
        serving(world.models, tmp_path / "bare.log", "--quiet") as server,
        watched(chromium, f"{server.address}/#/product/{world.best[0]}") as seen,
    ):
        page = seen.page
        assert page.inner_text("h1") == f"Product {world.best[0]}"
        assert page.inner_text(".grid .name >> nth=0").startswith("Product ")
        assert page.locator(".grid .tile svg").count() == 24
        assert page.locator("img").count() == 0
        colours = page.eval_on_selector_all(".grid .t0", "all => all.map(one => getComputedStyle(one).fill)")
        assert len(set(colours)) > 4
        page.reload()
        page.wait_for_selector(".grid .tile svg")
        assert colours == page.eval_on_selector_all(
            ".grid .t0", "all => all.map(one => getComputedStyle(one).fill)"
        )
        page.goto(f"{server.address}/#/customer/{USER}")
        page.wait_for_selector(".recommendation")
        assert page.evaluate(WIDE) == []


# For everybody -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_every_view_has_names_labels_landmarks_and_contrast(
    visit: Open, server: Server, world: World, scheme: str, width: int
) -> None:
    with visit(color_scheme=scheme, width=width) as seen:
        page = seen.page
        page.click(".grid > li:nth-child(4) .act.basket")
        page.click(".grid > li:nth-child(5) .act.pin")
        page.click(".grid > li:nth-child(6) .act.ban")
        page.wait_for_selector("#basket h2")
        for address in everywhere(world):
            show(page, address)
            assert page.evaluate(UNNAMED) == [], address
            assert page.evaluate(PALE) == [], address
            assert page.evaluate(WIDE) == [], address
        page.click("#publish")
        page.wait_for_selector("dialog[open]")
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(PALE) == []
        seen.expected = ("404",)


def test_the_tab_key_walks_through_everything_in_sight_and_shows_where_it_is(visit: Open) -> None:
    with visit() as seen:
        page = seen.page
        page.evaluate("document.activeElement.blur()")
        stops = []
        for _ in range(30):
            page.keyboard.press("Tab")
            stops.append(
                page.evaluate(
                    """() => { const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
                    return [one.textContent.trim().slice(0, 30) || one.id, box.bottom > 0 && box.top < innerHeight,
                            style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; }"""
                )
            )
        assert stops[0][0] == "Skip to the content"
        assert all(visible and outlined for _, visible, outlined in stops), stops
        assert len({name for name, _, _ in stops}) > 15


def test_the_skip_link_leads_past_the_header(visit: Open) -> None:
    with visit() as seen:
        page = seen.page
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        wait_until(page, "document.activeElement.id === 'main'")
        assert page.inner_text("h1") == "shop"


def test_what_was_found_is_told_to_screen_readers(visit: Open, world: World) -> None:
    with visit(f"#/product/{world.best[0]}") as seen:
        page = seen.page
        wait_until(page, "document.getElementById('said').textContent.startsWith('24 neighbours of ')")
        assert page.get_attribute("#said", "aria-live") == "polite"


def test_the_page_stands_still_while_it_loads(visit: Open, world: World) -> None:
    for address in ("", f"#/product/{world.best[0]}", f"#/customer/{USER}"):
        with visit(address) as seen:
            seen.settle()
            assert seen.page.evaluate("window.shifted") < 0.02


def test_nothing_moves_for_those_who_want_no_motion(visit: Open) -> None:
    with visit(reduced_motion="reduce") as seen:
        moving = seen.page.evaluate(
            """() => [...document.querySelectorAll("*")].filter((one) => {
            const style = getComputedStyle(one);
            return style.animationName !== "none" || !/^0s(, 0s)*$/.test(style.transitionDuration);
        }).length"""
        )
        assert moving == 0
