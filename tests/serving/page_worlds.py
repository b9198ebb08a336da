"""What the tests of the page share: a browser, a small shop with two versions of a model, and a catalogue that means harm."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest

from tastemaker.data.synthetic.shop import Shop, make_shop
from tastemaker.data.vocabulary import Vocabulary
from tastemaker.model.config import preset
from tastemaker.model.folder import save
from tastemaker.model.taste_model import TasteModel
from tastemaker.training.train import train

HARM = [
    "<script>window.harmed = 'script'</script>",
    '"><img src=x onerror="window.harmed = `img`">',
    "‮sdrawkcab gniht‬ ⁧שלום⁩ ‏",
    "W" * 5000,
    "word " * 1000,
    "</title></style></template><svg onload=window.harmed=1>",
    "{{constructor.constructor('window.harmed=1')()}}${window.harmed=1}",
]
"""Names of products; a browser that takes one for markup sets ``window.harmed``"""
HARMFUL_IMAGES = [
    "javascript:window.harmed='image'",
    "data:text/html,<script>parent.harmed=1</script>",
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='parent.harmed=1'><script>parent.harmed=1</script></svg>",
    "x\" onerror=\"window.harmed='attribute'",
    "  JaVaScRiPt:window.harmed=1",
    "vbscript:harmed",
    "/v1/models",
]
HARMFUL_USER = "../<img src=x onerror=window.harmed=1>?a=1#b %2e%2e/😀"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAPAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="


@dataclass(frozen=True)
class World:
    """A shop, its model in two versions, and the files to serve them."""

    shop: Shop
    newer: TasteModel
    models: Path
    catalogue: Path
    hostile: Path
    """The same catalogue, in which what sells best has names and pictures that mean harm"""
    best: list[int]
    """Products, what sells best first"""

    def about(self, product: int) -> dict[str, Any]:
        return self.shop.catalogue.row(by_predicate=pl.col("product_id") == product, named=True)


def make_world(folder: Path) -> World:
    """Train on 300 users, 160 products and 2,500 purchases; user ``HARMFUL_USER`` is one of them."""
    shop = make_shop(users=300, products=160, purchases=2_500, seed=4)
    ids = [HARMFUL_USER, *shop.purchases.users.ids.to_list()[1:]]
    shop = replace(shop, purchases=replace(shop.purchases, users=Vocabulary.of(ids, noun="user")))
    config = preset("default").changed({"dimensions": 16, "epochs": 4})
    older, newer = (train(shop.purchases, config, seed=seed) for seed in (1, 2))
    save(older, folder / "models" / "shop" / "1")
    save(newer, folder / "models" / "shop" / "2")
    bought = np.bincount(np.asarray(newer.histories.products), minlength=len(newer.products))
    best = newer.products.ids.gather(np.argsort(-bought, kind="stable")).to_list()
    catalogue = shop.catalogue.with_columns(
        image=pl.when(pl.col("product_id").is_in(best[:3])).then(pl.lit(PIXEL))
    )
    catalogue.write_parquet(folder / "catalogue.parquet")
    _spoilt(catalogue, best).write_parquet(folder / "hostile.parquet")
    return World(
        shop, newer, folder / "models", folder / "catalogue.parquet", folder / "hostile.parquet", best
    )


def _spoilt(catalogue: pl.DataFrame, best: list[int]) -> pl.DataFrame:
    names, images = dict(zip(best, HARM, strict=False)), dict(zip(best, HARMFUL_IMAGES, strict=False))
    text = dict.fromkeys(best[:4], HARM[0])
    return catalogue.with_columns(
        name=pl.col("product_id").replace_strict(names, default=pl.col("name"), return_dtype=pl.String),
        image=pl.col("product_id").replace_strict(images, default=None, return_dtype=pl.String),
        category=pl.col("product_id").replace_strict(
            text, default=pl.col("category"), return_dtype=pl.String
        ),
    ).rename({"colour": "<b onclick=harmed>colour</b>"})


@dataclass
class Watched:
    """What a browser's page did that it should not."""

    page: Any
    host: str
    said: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Beginnings of messages that a test provokes"""
    asking: set[Any] = field(default_factory=set)
    """Requests that are not answered yet"""

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on(
            "dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        self.page.on("request", self._see)
        for ended in ("requestfinished", "requestfailed"):
            self.page.on(ended, lambda request: self.asking.discard(request))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.said.append(f"{kind}: {text}")

    def _see(self, request: Any) -> None:
        self.asking.add(request)
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != self.host:
            self.strangers.append(request.url)

    def settle(self) -> None:
        """Wait until nothing is asked for and nothing has moved for a while, however slow the machine."""
        still, before = 0, None
        for _ in range(400):
            self.page.wait_for_timeout(50)
            now = self.page.evaluate(LAID_OUT)
            still = still + 1 if now == before and not self.asking else 0
            before = now
            if still == 4:
                return
        raise AssertionError(f"the page does not come to rest: {[one.url for one in self.asking]}")

    def check(self) -> None:
        """Nothing was complained of, and nobody else was asked."""
        assert [text for text in self.said if not any(part in text for part in self.expected)] == []
        assert self.strangers == []
        assert self.page.evaluate("typeof window.harmed") == "undefined"


@contextlib.contextmanager
def browser(*arguments: str) -> Iterator[Any]:
    """Chromium, with further arguments of its own, or a skipped test that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium; install Debian's package of that name")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *arguments])
        try:
            yield found
        finally:
            found.close()


@contextlib.contextmanager
def watched(
    browser: Any, address: str, *, width: int = 1280, height: int = 900, **options: Any
) -> Iterator[Watched]:
    """A fresh page at an address, checked at its end."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(20_000)
    context.add_init_script(SHIFTS)
    page = context.new_page()
    seen = Watched(page, urlsplit(address).netloc)
    try:
        page.goto(address)
        page.wait_for_selector("main h1")
        yield seen
        seen.check()
    finally:
        context.close()


LAID_OUT = """() => [...document.querySelectorAll("body *")].map((one) => {
  const box = one.getBoundingClientRect();
  return `${Math.round(box.top)} ${Math.round(box.height)}`;
}).join()"""
"""Where everything stands"""

SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifted += one.value;
}).observe({ type: "layout-shift", buffered: true });
"""

WIDE = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest("[hidden], .hidden, .said, .skip, .scroll, pre, #views, .history .rows, #basket .rows, svg")) return false;
  const box = one.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1);
}).map((one) => `${one.tagName}.${one.className} ${Math.round(one.getBoundingClientRect().right)}`)"""
"""Elements that stand out of the window at a side"""

UNNAMED = """() => {
  const text = (one) => (one.textContent || "").trim();
  const named = (one) => one.getAttribute("aria-label")?.trim() || text(one) || one.title
    || (one.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)).some((by) => by && text(by))
    || [...(one.labels || [])].some(text);
  const faults = [];
  const shown = (one) => one.getClientRects().length && !one.closest('[aria-hidden="true"]');
  const operable = "a[href], button, input, select, textarea, summary, dialog, [role=img], [role=listbox]";
  for (const one of document.querySelectorAll(operable)) {
    if (shown(one) && !named(one)) faults.push(`no name: ${one.outerHTML.slice(0, 120)}`);
    if (["INPUT", "SELECT"].includes(one.tagName) && shown(one) && !(one.labels.length || one.getAttribute("aria-label")))
      faults.push(`no label: ${one.outerHTML.slice(0, 120)}`);
  }
  for (const one of document.querySelectorAll("img:not([alt])")) faults.push(`no alt: ${one.src.slice(0, 60)}`);
  for (const one of document.querySelectorAll('svg:not([aria-hidden="true"])')) faults.push("an svg that is read");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`id twice: ${id}`);
  for (const name of ["aria-controls", "aria-labelledby", "aria-activedescendant", "for"])
    for (const one of document.querySelectorAll(`[${name}]`))
      for (const id of one.getAttribute(name).split(" "))
        if (!document.getElementById(id)) faults.push(`${name} to nothing: ${id}`);
  for (const one of document.querySelectorAll("ul, ol"))
    for (const child of one.children) if (child.tagName !== "LI") faults.push(`${child.tagName} in a list`);
  for (const one of document.querySelectorAll('[aria-hidden="true"]'))
    for (const inner of [one, ...one.querySelectorAll("a, button, input")])
      if (inner.matches("a[href], button, input") && inner.tabIndex >= 0) faults.push("hidden, and takes the focus");
  if (document.querySelectorAll("h1").length !== 1) faults.push(`${document.querySelectorAll("h1").length} h1`);
  for (const one of ["main", "header", "nav", "footer"])
    if (document.querySelectorAll(one).length !== 1) faults.push(`landmark ${one}`);
  let level = 0;
  for (const one of document.querySelectorAll("main h1, main h2, main h3")) {
    const own = Number(one.tagName[1]);
    if (own > level + 1) faults.push(`h${own} after h${level}`);
    level = own;
  }
  if (!document.documentElement.lang) faults.push("no language");
  return faults;
}"""
"""What an accessibility checker would say of names, labels, ids, headings and landmarks"""

PALE = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const back = (one) => {
    if (!one) return [255, 255, 255, 1];
    const own = rgba(getComputedStyle(one).backgroundColor);
    return own[3] >= 0.99 ? own : over(own, back(one.parentElement));
  };
  const light = (colour) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.slice(0, 3).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faults = [];
  for (const one of document.querySelectorAll("body *")) {
    if (!one.getClientRects().length || one.closest(".hidden, .said, .skip, svg, option, [aria-hidden=true]")) continue;
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(one);
    const ground = back(one);
    const [a, b] = [light(over(rgba(style.color), ground)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5))
      faults.push(`${one.tagName}.${one.className} ${ratio.toFixed(2)} ${one.textContent.trim().slice(0, 30)}`);
  }
  return [...new Set(faults)];
}"""
"""Texts whose contrast is below what WCAG 2 calls AA"""

OPERABLE = """() => {
  const open = document.querySelector("dialog[open]") ?? document;
  const all = [...open.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const first = (one) => one.type !== "radio" || one.checked; // arrows reach the others
  const twin = (one) => one.tabIndex < 0 && one.ariaHidden === "true"; // a picture that leads where the name beside it leads
  const found = all.filter((one) => !one.disabled && !twin(one) && one.checkVisibility({ visibilityProperty: true }) && first(one));
  found.forEach((one, place) => { one.dataset.walked = place; });
  return found.length;
}"""
"""Number what can be operated, in the order of the document"""

FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const seen = (of) => {
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(of);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && !/, 0\\)$/.test(outlineColor);
  };
  const x = Math.max(0, Math.min(innerWidth - 1, box.left + box.width / 2));
  const y = Math.max(0, Math.min(innerHeight - 1, box.top + box.height / 2));
  const top = document.elementFromPoint(x, y);
  return {
    place: one.dataset.walked === undefined ? null : Number(one.dataset.walked),
    html: one.outerHTML.slice(0, 100),
    ring: seen(one),
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    covered: !(top && (one.contains(top) || top.contains(one))),
  };
}"""
"""Which numbered element has the focus, whether that is seen, and whether something lies above it"""


def walk(page: Any) -> list[str]:
    """Press Tab through a view, or through a dialog, and return what is wrong."""
    count, faults, places = page.evaluate(OPERABLE), [], []
    for _ in range(count + 2):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        if found["place"] is None or found["place"] in places:
            break
        places.append(found["place"])
        faults += [f"no ring: {found['html']}"] * (not found["ring"])
        faults += [f"out of sight: {found['html']}"] * (not found["inside"])
        faults += [f"covered: {found['html']}"] * found["covered"]
    missed = sorted(set(range(count)) - set(places))
    html = "place => document.querySelector(`[data-walked='${place}']`).outerHTML.slice(0, 100)"
    return faults + [f"not reached: {page.evaluate(html, place)}" for place in missed]


def tab_to(page: Any, selector: str, *, back: bool = False) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(600):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{selector} is not reached")


def focused(page: Any) -> str:
    return page.evaluate("() => document.activeElement.outerHTML.slice(0, 200)")
