"""The time to the first result of a search on the page, in a real browser: ``python benchmarks/page_search.py``.

A shop of 100,000 products whose catalogue has 20,000 makers, served by one process; headless Chromium types into the search box.
The time runs from the last letter, which the browser gets as a keystroke, to the frame after the first result stands in the list.
Beside it the same question to the API, from this process.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import machine, markdown, missing, parser_of

WATCH = """() => {
  const box = document.getElementById('find'), list = document.getElementById('found');
  window.began = window.ended = null;
  box.addEventListener('keydown', (event) => {
    if (event.key.length === 1) { window.began = performance.now(); window.ended = null; }
  }, true);
  new MutationObserver(() => {
    if (list.dataset.text === box.value.trim() && list.querySelector('[role=option]') && window.ended === null)
      requestAnimationFrame(() => requestAnimationFrame(() => { window.ended ??= performance.now(); }));
  }).observe(list, { childList: true });
}"""


def main() -> None:
    options = parser_of(__doc__, products=100_000, searches=25).parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing("there is no chromium; install Debian's package of that name.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed; `pip install playwright`.")
    with tempfile.TemporaryDirectory() as name:
        catalogue = make_shop(Path(name), options.products)
        with served(Path(name)) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("main h1")
            page.evaluate(WATCH)
            rows = [
                row(kind, texts, page, address)
                for kind, texts in searches(catalogue, options.searches).items()
            ]
            browser.close()
    print(markdown(["search for", "ms to the first result", "p95", "of it the answer of the API"], rows))
    print(f"\n{options.products:,} products, {options.searches} searches of each kind. {machine()}")


def make_shop(folder: Path, products: int) -> pl.DataFrame:
    """Write a catalogue, and a model that hardly learned: searching does not depend on it."""
    import tastemaker as tm

    shop = tm.make_shop(users=5_000, products=products, purchases=4 * products)
    rng = np.random.default_rng(0)
    syllables = np.array([a + b for a in "bcdfghklmnprstvz" for b in "aeiou"])
    makers = np.array(["".join(syllables[rng.integers(0, len(syllables), 4)]) for _ in range(20_000)])
    catalogue = shop.catalogue.with_columns(
        maker=pl.Series(makers[rng.integers(0, len(makers), shop.catalogue.height)])
    )
    catalogue.write_parquet(folder / "catalogue.parquet")
    tm.save(
        tm.train(shop.purchases, epochs=1, dimensions=16, progress=False), folder / "models" / "shop" / "1"
    )
    return catalogue


@contextmanager
def served(folder: Path) -> Iterator[str]:
    command = [
        *(sys.executable, "-m", "tastemaker", "serve", str(folder / "models"), "--port", "0", "--quiet"),
        *("--catalogue", str(folder / "catalogue.parquet")),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Serving "):
            missing(f"the server did not start: {(folder / 'log').read_text()[-500:]}")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=60)


def searches(catalogue: pl.DataFrame, count: int) -> dict[str, list[str]]:
    """Return what is typed, by kind; each text is another product's."""
    rng = np.random.default_rng(1)
    rows = catalogue.sample(4 * count, seed=2).to_dicts()
    words = [row["name"].split()[-1].lower() for row in rows[:count]]
    makers = [row["maker"] for row in rows[count : 2 * count]]

    def misspelled(word: str) -> str:
        place = int(rng.integers(1, len(word) - 2))
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    return {
        "a word of thousands of names": words,
        "the first four letters of a maker": [maker[:4] for maker in makers],
        "a maker, two letters swapped": [misspelled(maker) for maker in makers],
        "two words": [
            f"{row['name'].split()[-1]} {row['maker']}".lower() for row in rows[2 * count : 3 * count]
        ],
        "an id": [str(row["product_id"]) for row in rows[3 * count :]],
    }


def row(kind: str, texts: list[str], page: Any, address: str) -> list[str]:
    in_browser, of_api = [], []
    for text in [texts[0], *texts]:  # the first one twice: it is not timed
        page.fill("#find", "")
        page.focus("#find")
        page.keyboard.type(text, delay=60)  # a quick typist: 200 words a minute
        for _ in range(2_000):
            if page.evaluate("window.ended !== null"):
                break
            time.sleep(0.005)
        else:
            raise RuntimeError(f"nothing was found for {text!r}")
        time.sleep(0.3)
        in_browser.append(page.evaluate("window.ended - window.began"))
        page.keyboard.press("Escape")
        began = time.perf_counter()
        query = urllib.parse.urlencode({"search": text, "limit": 6})
        urllib.request.urlopen(f"{address}/api/v1/products?{query}").read()
        of_api.append(1000 * (time.perf_counter() - began))
    timed = in_browser[1:]
    return [
        kind,
        f"{statistics.median(timed):.0f}",
        f"{np.quantile(timed, 0.95):.0f}",
        f"{statistics.median(of_api[1:]):.0f}",
    ]


if __name__ == "__main__":
    main()
