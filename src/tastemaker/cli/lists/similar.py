"""``tastemaker similar``: what goes with a product."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tastemaker.cli.lists.index import Approximately, approximate_of
from tastemaker.cli.lists.recommend import as_json_lists, print_lists, said_exact
from tastemaker.cli.terminal.console import counting, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once
from tastemaker.cli.terminal.options import AsJson, ModelFolder, OutFile, Threads, first_existing, typed

__all__ = ["similar"]


def similar(
    folder: ModelFolder,
    product: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A product; repeatable.", show_default=False)
    ] = None,
    all_products: Annotated[bool, typer.Option("--all-products", help="Every product of the model.")] = False,
    k: Annotated[int, typer.Option(help="List length.")] = 10,
    similarity: Annotated[Literal["dot", "cosine"], typer.Option(help="How nearness is measured.")] = "dot",
    include_self: Annotated[
        bool, typer.Option("--include-self", help="List the product itself, too, as the workshop did.")
    ] = False,
    approximate: Approximately = False,
    out: OutFile = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """List the products nearest to a product in the space of tastes.

    `--out` writes the columns product_id, similar_id, rank, score. The workshop's lists: `--k 100 --similarity dot --include-self`.
    """
    from tastemaker.model.folder import load
    from tastemaker.ranking.recommend import similar as rank
    from tastemaker.ranking.to_file import check_file, write_similar

    first_existing({"--product": product, "--all-products": all_products}, "--product, --all-products")
    if approximate and similarity != "dot":
        raise typer.BadParameter("--approximate finds by dot product; leave --similarity at dot.")
    model = load(folder)
    found = approximate_of(folder, model, approximate)
    space = None if found is None else (found.vectors, found.by_dot())
    asked = model.products.ids if all_products else typed(product or [])
    if out is None:
        lists = rank(
            model, asked, k=k, similarity=similarity, include_self=include_self, space=space, threads=threads
        )
        if as_json:
            print_json({"similar": as_json_lists(lists)} | said_exact(lists.lists))
        else:
            print_lists(lists)
        return
    check_file(out)
    with raise_at_once(), counting("products", len(asked)) as bar:
        lines = write_similar(
            model,
            asked,
            out,
            k=k,
            similarity=similarity,
            include_self=include_self,
            space=space,
            threads=threads,
            on_progress=lambda done: bar.update(bar.task_ids[0], advance=done),
        )
    if as_json:
        print_json({"out": str(out), "rows": lines})
    else:
        say(f"Wrote {lines:,} lines to {out}.")
