"""``tastemaker recommend``: what users, or a basket, would buy next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.console import counting, output, print_json, say
from tastemaker.cli.interrupts import raise_at_once
from tastemaker.cli.options import AsJson, ModelFolder, OutFile, Threads, first_existing, ids_in, typed

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.recommend import Recommendations

__all__ = ["as_json_lists", "print_lists", "recommend"]


def recommend(
    folder: ModelFolder,
    user: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A user; repeatable.", show_default=False)
    ] = None,
    users: Annotated[
        Path | None, typer.Option(metavar="F", help="A file of user ids.", show_default=False)
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user of the model.")] = False,
    basket: Annotated[
        str | None,
        typer.Option(metavar="ID,ID,…", help="Product ids of a visitor's basket.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option(help="List length.")] = 10,
    include_purchased: Annotated[
        bool, typer.Option("--include-purchased", help="Recommend what was bought already, too.")
    ] = False,
    out: OutFile = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Recommend products to users of the log, or to whoever holds a basket.

    `--out` writes the columns user_id, product_id, rank, score: ids in their own type, rank from 1. A list is shorter when fewer
    products remain.
    """
    from tastemaker.model.folder import load
    from tastemaker.ranking.recommend import recommend as rank
    from tastemaker.ranking.recommend import recommend_baskets
    from tastemaker.ranking.to_file import check_file, write_recommendations

    given: dict[str, object] = {
        "--user": user,
        "--users": users,
        "--all-users": all_users,
        "--basket": basket,
    }
    chosen = first_existing(given, "--user, --users, --all-users, --basket")
    model = load(folder)
    if basket is not None:
        ids = [text.strip() for text in basket.split(",") if text.strip()]
        lists = recommend_baskets(
            model, [typed(ids)], k=k, include_purchased=include_purchased, threads=threads
        )
        _render(lists, out, as_json)
        return
    asked = _users(model, chosen, user, users)
    if out is None:
        lists = rank(model, asked, k=k, include_purchased=include_purchased, threads=threads)
        _render(lists, None, as_json)
        return
    check_file(out)
    with raise_at_once(), counting("users", len(asked)) as bar:
        lines = write_recommendations(
            model,
            asked,
            out,
            k=k,
            include_purchased=include_purchased,
            threads=threads,
            on_progress=lambda done: bar.update(bar.task_ids[0], advance=done),
        )
    _say_written(out, lines, as_json)


def _users(model: TasteModel, chosen: str, user: list[str] | None, users: Path | None) -> pl.Series:
    if chosen == "--all-users":
        return model.users.ids
    if users is not None:
        return ids_in(users, model.users)
    return typed(user or [])


def _render(lists: Recommendations, out: Path | None, as_json: bool) -> None:
    if out is not None:
        from tastemaker.ranking.to_file import check_file, write_frame

        with raise_at_once():
            write_frame(lists.to_frame(), check_file(out))
        _say_written(out, len(lists.lists.rows), as_json)
    elif as_json:
        print_json({"recommendations": as_json_lists(lists)})
    else:
        print_lists(lists)


def _say_written(out: Path, lines: int, as_json: bool) -> None:
    if as_json:
        print_json({"out": str(out), "rows": lines})
    else:
        say(f"Wrote {lines:,} lines to {out}.")


def as_json_lists(lists: Recommendations) -> list[dict[str, object]]:
    """Return each query with its list, for ``--json``."""
    return [
        {
            lists.queries.name: query,
            "products": [
                {lists.answer: product, "rank": rank, "score": score}
                for rank, (product, score) in enumerate(lists.of(q), start=1)
            ],
        }
        for q, query in enumerate(lists.queries.to_list())
    ]


def print_lists(lists: Recommendations) -> None:
    """Print a table of all lists for people."""
    from rich.table import Table

    table = Table(
        lists.queries.name, "rank", lists.answer, "score", box=None, header_style="bold", padding=(0, 2)
    )
    for q, query in enumerate(lists.queries.to_list()):
        for rank, (product, score) in enumerate(lists.of(q), start=1):
            table.add_row(str(query) if rank == 1 else "", str(rank), str(product), f"{score:.4f}")
        if not len(lists.lists[q][0]):
            table.add_row(str(query), "", "(nothing left to recommend)", "")
    output().print(table)
