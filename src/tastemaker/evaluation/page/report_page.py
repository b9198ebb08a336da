"""`report_page`: a comparison as one file of HTML that looks the same without a network, today and in ten years."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.data.purchases import Purchases
from tastemaker.data.reading.product_table import ProductTable, empty_table
from tastemaker.errors import SettingProblem
from tastemaker.evaluation.comparison.entries import Comparison
from tastemaker.evaluation.comparison.verdict import sentences
from tastemaker.evaluation.page import models
from tastemaker.evaluation.page import products as shelf
from tastemaker.evaluation.page.scales import plain
from tastemaker.storage import replace_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["report_page", "room", "trusted", "versions", "write_page"]


def report_page(
    found: Comparison,
    train: Purchases,
    held_out: Purchases,
    *,
    products: ProductTable | None = None,
    command: str = "",
    now: datetime | None = None,
) -> str:
    """Return the comparison's page: verdict, tables, pictures, examples, and what it takes to reproduce it.

    ``train`` and ``held_out`` are those that were compared on. ``products`` is the catalogue of TRAIN's products
    (`read_product_table`), whose names and categories are shown; ``command`` is what printed it. All that comes from data is
    escaped, and the page's policy lets no script run.
    """
    templates = room()
    names = shelf.Names(products or empty_table(train.products))
    return templates.get_template("report.html.j2").render(
        found=found,
        train=train,
        sentences=list(sentences(found.tests, found.chosen, found.metrics))
        if found.tests
        else [found.verdict],
        ranked=models.ranked(found),
        hues=models.legend(found),
        columns=found.columns,
        doubts=list(_doubts(found)),
        quality=models.quality(found),
        tests=models.tests(found),
        recall=models.recall_by_k(found),
        segments=models.segments(found),
        exposure=shelf.exposure(found, train, held_out),
        tails=shelf.tails(found),
        alike=shelf.alike(found, train, names),
        examples=shelf.examples(found, train, held_out, names),
        training=models.training(found),
        settings=models.settings(found),
        command=command,
        created=f"{now or datetime.now(UTC):%Y-%m-%d}",
        versions=versions(),
        style=trusted(templates.get_template("style.css").render()),
    )


def write_page(page: str, file: str | Path) -> Path:
    """Write a page to a new file, whole or not at all; raise `SettingProblem` when there is no folder for it."""
    target = Path(file)
    if not target.absolute().parent.is_dir():
        raise SettingProblem(
            f"there is no folder {target.absolute().parent} to write {target.name} in; make it first."
        )
    try:
        replace_text(target, page)
    except OSError as error:
        raise SettingProblem(f"cannot write {target}: {error.strerror or error}.") from error
    return target


def _doubts(found: Comparison) -> Iterator[str]:
    for entry in found.entries:
        for note in entry.notes:
            yield f"{entry.name}: {note}."
    yield from found.notes


@cache
def room() -> Environment:
    """Return the templates of the pages."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("tastemaker.evaluation.page") / "templates"
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
    made = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["pc"] = lambda value: f"{value:.2f}%"
    made.filters["plain"] = plain
    made.filters["whole"] = _unbroken
    return made


def _unbroken(text: str) -> str:
    """Keep numbers and their signs on one line."""
    return text.replace(" %", "\u00a0%").replace("–", "\u2060–\u2060")


def trusted(text: str) -> object:
    """Mark a text of our own, which holds nothing of the data, as HTML."""
    from markupsafe import Markup

    return Markup(text)


def versions() -> str:
    """Return the versions of what made a page."""
    packages = [f"{name} {version(name)}" for name in ("tastemaker", "numpy", "numba", "polars")]
    return ", ".join([f"Python {platform.python_version()}", *packages])
