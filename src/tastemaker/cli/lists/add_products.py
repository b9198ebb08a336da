"""``tastemaker add-products``: products that nobody has bought yet, findable at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.options import AsJson, ModelFolder
from tastemaker.display import counted

if TYPE_CHECKING:
    from tastemaker.ranking.new_products import Added

__all__ = ["add_products"]


def add_products(
    folder: ModelFolder,
    catalogue: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOGUE", help="A table of products, as --products of train.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The new folder; by default the next version beside FOLDER.",
            show_default=False,
        ),
    ] = None,
    product_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of ids.", show_default=False)
    ] = None,
    dial: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="What products without a sale in train gain, from now on; by default as it was chosen.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add the products of a catalogue that a model does not know, without training.

    Their attributes speak for them, until buyers do. The model must have learned from columns of its products' catalogue. `serve
    --catalogue` does the same whenever the catalogue changes.
    """
    from tastemaker.data.reading.product_table import read_product_table
    from tastemaker.model.folder import check_target, load, save
    from tastemaker.ranking.new_products import add_products as add

    target = check_target(_next_version(folder) if out is None else out)
    model = load(folder)
    table = read_product_table(catalogue, model.products, column=product_column)
    longer, added = add(model, table, dial=dial)
    save(longer, target)
    curve = model.record.metrics.get("dial", [])
    if as_json:
        facts = dataclasses.asdict(added) | {"repeats": table.repeats}
        print_json({"folder": str(target), **facts, "dial": longer.live and longer.live.dial, "curve": curve})
        return
    columns = ", ".join(added.columns) or "no column"
    say(f"Added {counted(added.products, 'product')} to {len(model.products):,} by {columns}: {target}")
    if table.repeats:
        say(
            f"{counted(table.repeats, 'line', 'describes', 'describe')} a product again: the first line of each counts."
        )
    _say_added(added)
    for point in curve:
        say(f"dial {point['dial']:g}: ndcg@100 {point['all']:.4f} of all, {point['new']:.4f} of new products")


def _say_added(added: Added) -> None:
    """Say what of the new products the model does not understand."""
    if added.silent:
        say(f"The model understands nothing of {added.silent:,} of them: they rank last until they sell.")
    if added.absent:
        say(f"The catalogue lacks {', '.join(added.absent)}, from which the model learned, too.")
    for name, count in added.strange.items():
        say(f"{name}: {count:,} of them have a value that the model did not learn from; it says nothing.")


def _next_version(folder: Path) -> Path:
    """Return the folder of the next version beside one; raise `BadParameter` for a folder that is no version."""
    name = folder.absolute().name
    if not (name.isascii() and name.isdigit()):
        raise typer.BadParameter(
            f"{folder} is not named by a version number; name the new folder with --out."
        )
    numbers = [
        int(entry.name)
        for entry in folder.absolute().parent.iterdir()
        if entry.name.isascii() and entry.name.isdigit()
    ]
    return folder.parent / str(max(numbers) + 1)
