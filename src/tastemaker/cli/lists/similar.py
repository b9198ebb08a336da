"""``tastemaker similar``: what goes with a product."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

from tastemaker.cli.lists.index import Approximately, approximate_of
from tastemaker.cli.lists.showing import (
    check_parted,
    names_of,
    print_lists,
    ranked,
    say_written,
    write,
    write_parted,
)
from tastemaker.cli.terminal.console import print_json
from tastemaker.cli.terminal.options import (
    AsJson,
    ModelFolder,
    OutFile,
    Threads,
    Writers,
    first_existing,
    typed,
)

__all__ = ["similar"]


# long: every option of the command is a parameter, a line each
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
    catalogue: Annotated[
        str | None,
        typer.Option(metavar="F", help="A table of products, whose names are shown.", show_default=False),
    ] = None,
    approximate: Approximately = False,
    out: OutFile = None,
    workers: Writers = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """List the products nearest to a product in the space of tastes.

    `--out` writes the columns product_id, similar_id, rank, score. The workshop's lists: `--k 100 --similarity dot --include-self`.
    With --workers, --all-products and --out FOLDER several processes or a Ray cluster write Parquet parts.
    """
    from tastemaker.model.folder import load
    from tastemaker.ranking.as_json import COMMAND_LINE
    from tastemaker.ranking.packed import pack
    from tastemaker.ranking.recommend import similar as near

    if workers is not None:
        from tastemaker.ranking.export.parts import ListJob

        beside: dict[str, object] = {
            "--all-products": all_products, "--product": product, "--approximate": approximate,
        }  # fmt: skip
        check_parted(beside, "--all-products", out)
        lists = ListJob(
            str(folder), "products", k, catalogue=catalogue, similarity=similarity, include_self=include_self
        )
        write_parted(lists, str(out), workers, threads, as_json=as_json)
        return
    first_existing({"--product": product, "--all-products": all_products}, "--product, --all-products")
    if approximate and similarity != "dot":
        raise typer.BadParameter("--approximate finds by dot product; leave --similarity at dot.")
    model = load(folder)
    packed = pack(model, catalogue=catalogue, candidates=approximate_of(folder, model, approximate))
    asked = model.products.ids if all_products else typed(product or [])
    rank = partial(near, packed, k=k, similarity=similarity, include_self=include_self, threads=threads)
    if out is not None:
        say_written(out, write(rank, asked, out, "products"), as_json, {})
        return
    blocks = ranked(rank, asked, "products")
    if as_json:
        exact = {} if all(lists.lists.exact for lists in blocks) else {"exact": False}
        print_json(
            {"similar": [answer for lists in blocks for answer in lists.to_json(COMMAND_LINE)]} | exact
        )
    else:
        print_lists(blocks, names_of(packed.catalogue))
