"""Make the documentation's pictures anew from the real thing: `python docs/pictures.py` (with the extra `test` and Chromium).

The page of a server, the report of a comparison and values in a notebook, all of the demo's shop.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
CELLS = (
    'import tastemaker as tm\nlog = tm.read_purchases("shop/purchases.parquet")\nsplit = tm.hold_out_time(log, 0.1)',
    "model = tm.train(split.train, seed=7)\nmodel",
    'tm.recommend(model, "c-000017", k=5, catalogue="shop/products.parquet")',
    "tm.evaluate(model, split, at=10)",
)
STYLE = """<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 16px; width: 868px }
pre { background: #f4f4f4; padding: 8px 12px; margin: 12px 0 8px }
.out { padding-left: 12px; overflow: hidden }
</style>"""


def tastemaker(*arguments: str, within: Path) -> None:
    """Run a command in a folder and wait for its end."""
    subprocess.run(
        [sys.executable, "-m", "tastemaker", *arguments], cwd=within, check=True, capture_output=True
    )


def notebook(within: Path) -> str:
    """Run the cells in a kernel and return them, with what they put out, as a page."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = nbclient.NotebookClient(
            book, timeout=300, kernel_name="python3", resources={"metadata": {"path": within}}
        )
        client.execute()
    parts = [STYLE]
    for cell in book.cells:
        shown = "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)
        parts.append(f"<pre>{cell.source}</pre><div class=out>{shown}</div>")
    return "<!doctype html><meta charset=utf-8>" + "".join(parts)


def take(page: Any, address: str, name: str, *, width: int, height: int) -> None:
    """Write a picture of an address."""
    page.set_viewport_size({"width": width, "height": height})
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    page.screenshot(path=DOCS / f"{name}.png")
    print(f"docs/{name}.png: {(DOCS / f'{name}.png').stat().st_size // 1024} KiB")


def main() -> None:
    """Make the shop, learn, compare, serve, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        tastemaker("demo", "--out", "shop", within=work)
        tastemaker("split", "shop/purchases.parquet", "--last", "10%", "--into", "parts", within=work)
        tastemaker(
            "compare", "parts/train.parquet", "parts/later.parquet", "--products", "shop/products.parquet",
            "--model", "default", "--model", "co-purchase", "--model", "ease", "--report", "report.html", within=work,
        )  # fmt: skip
        (work / "notebook.html").write_text(notebook(work), encoding="utf-8")
        command = ["serve", "shop/models", "--catalogue", "shop/products.parquet", "--port", "0", "--quiet"]
        server = subprocess.Popen(
            [sys.executable, "-m", "tastemaker", *command], cwd=work, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page()
            take(page, f"{address}/#/customer/c-000017", "page", width=1120, height=640)
            take(page, f"file://{work}/report.html", "report", width=1120, height=760)
            take(page, f"file://{work}/notebook.html", "notebook", width=900, height=1180)
            browser.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
