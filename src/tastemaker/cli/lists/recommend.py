"""``tastemaker recommend``: what users, or a basket, would buy next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.lists.index import Approximately, approximate_of
from tastemaker.cli.lists.recommend_ruled import Wishes, recommend_ruled
from tastemaker.cli.terminal.console import counting, output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once
from tastemaker.cli.terminal.options import (
    AsJson,
    ModelFolder,
    OutFile,
    ProductColumn,
    QuantityColumn,
    Threads,
    UserColumn,
    first_existing,
    ids_in,
    typed,
)

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.reading.columns import Columns
    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.fallbacks import Visitor
    from tastemaker.ranking.index.approximate import Approximate
    from tastemaker.ranking.lists import RankedLists
    from tastemaker.ranking.recommend import Recommendations

__all__ = ["as_json_lists", "print_lists", "recommend", "said_exact"]


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
    with_purchases: Annotated[
        Path | None,
        typer.Option(
            metavar="F",
            help="A log of newer purchases; they join the histories, nothing is trained.",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="F", help="What may be recommended (JSON or TOML).", show_default=False),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(metavar="F", help="A table of products, for rules on its columns.", show_default=False),
    ] = None,
    why: Annotated[bool, typer.Option("--why", help="Say which purchases speak for each product.")] = False,
    approximate: Approximately = False,
    user_column: UserColumn = None,
    product_column: ProductColumn = None,
    quantity_column: QuantityColumn = None,
    out: OutFile = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Recommend products to users of the log, or to whoever holds a basket.

    `--out` writes the columns user_id, product_id, rank, score: ids in their own type, rank from 1. A list is shorter when fewer
    products remain. Whoever has no purchase that the model knows gets the best sellers.
    """
    from tastemaker.data.reading.columns import Columns
    from tastemaker.model.folder import load
    from tastemaker.ranking.recommend import recommend as rank
    from tastemaker.ranking.to_file import check_file, write_recommendations

    given: dict[str, object] = {
        "--user": user,
        "--users": users,
        "--all-users": all_users,
        "--basket": basket is not None,
    }
    chosen = first_existing(given, "--user, --users, --all-users, --basket")
    if basket is not None and with_purchases is not None:
        raise typer.BadParameter("--with-purchases is for users; add its products to the --basket instead.")
    if approximate and (rules is not None or why):
        raise typer.BadParameter(
            "--approximate is for plain lists; lists under --rules or with --why are exact."
        )
    wishes = None
    if rules is not None or why:
        wishes = Wishes(k, include_purchased, threads, rules, catalogue, why, out, as_json)
    model = load(folder)
    candidates = approximate_of(folder, model, approximate)
    if basket is not None and wishes is not None:
        _basket_under_rules(model, basket, wishes)
        return
    if basket is not None:
        _recommend_basket(
            model, basket, candidates, out, as_json, k=k, include_purchased=include_purchased, threads=threads
        )
        return
    facts: dict[str, object] = {}
    if with_purchases is not None:
        # a time would say nothing here
        columns = Columns(user=user_column, product=product_column, time="", quantity=quantity_column)
        model, facts = _joined(model, with_purchases, columns)
    asked = _users(model, chosen, user, users)
    best_sellers = _without_purchases(model, asked)
    if any(best_sellers):
        say(f"{sum(best_sellers):,} of these users have no purchase; they get the best sellers.")
    if wishes is not None:
        visitors = (_visitor(model, row) for row in model.users.rows(asked).tolist())
        names = model.users.original(model.users.at(model.users.rows(asked))).alias("user_id")
        recommend_ruled(model, names, visitors, wishes, facts)
        return
    if out is None:
        lists = rank(
            model, asked, k=k, include_purchased=include_purchased, candidates=candidates, threads=threads
        )
        _render(lists, None, as_json, best_sellers, facts)
        return
    check_file(out)
    with raise_at_once(), counting("users", len(asked)) as bar:
        lines = write_recommendations(
            model,
            asked,
            out,
            k=k,
            include_purchased=include_purchased,
            candidates=candidates,
            threads=threads,
            on_progress=lambda done: bar.update(bar.task_ids[0], advance=done),
        )
    _say_written(out, lines, as_json, facts)


def _recommend_basket(
    model: TasteModel,
    basket: str,
    candidates: Approximate | None,
    out: Path | None,
    as_json: bool,
    *,
    k: int,
    include_purchased: bool,
    threads: int | None,
) -> None:
    from tastemaker.ranking.recommend import recommend_baskets

    known, unknown = _known(model, basket)
    lists = recommend_baskets(
        model,
        [typed([str(product) for product in known])],
        k=k,
        include_purchased=include_purchased,
        candidates=candidates,
        threads=threads,
    )
    _render(lists, out, as_json, [not known], {"unknown_products": unknown})


def _known(model: TasteModel, basket: str) -> tuple[list[object], list[object]]:
    """Part a basket into what the model knows and what it does not; say so on stderr."""
    from tastemaker.ranking.recommend import known_part

    ids = [text.strip() for text in basket.split(",") if text.strip()]
    known, unknown = known_part(model, typed(ids))
    if unknown:
        s, are = ("", "is") if len(unknown) == 1 else ("s", "are")
        rest = "the rest is used" if known else "no product is left"
        say(f"Product{s} {_some(unknown)} {are} not among the {len(model.products):,} known; {rest}.")
    if not known:
        say("The basket holds no product that the model knows; these are the best sellers.")
    return known, unknown


def _basket_under_rules(model: TasteModel, basket: str, wishes: Wishes) -> None:
    import numpy as np
    import polars as pl

    from tastemaker.ranking.fallbacks import Visitor

    known, unknown = _known(model, basket)
    rows = np.unique(model.products.rows(typed([str(product) for product in known]))).astype(np.int32)
    names = pl.Series("basket", [0])
    recommend_ruled(model, names, iter([Visitor(basket=rows)]), wishes, {"unknown_products": unknown})


def _visitor(model: TasteModel, row: int) -> Visitor:
    import numpy as np

    from tastemaker.ranking.fallbacks import Visitor

    low, high = model.histories.offsets[row : row + 2]
    times = None if model.history_times is None else np.asarray(model.history_times[low:high])
    return Visitor(row, np.asarray(model.histories.products[low:high]), times)


def _joined(model: TasteModel, file: Path, columns: Columns) -> tuple[TasteModel, dict[str, object]]:
    """Join the purchases of a file; return the facts for ``--json`` too, having said them on stderr."""
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.ranking.fold_in import joined, unknown_products

    log = read_purchases(file, columns=columns)
    say(f"{file}: {log.summary.sentence()}")
    unknown, left_out = unknown_products(model, log)
    longer = joined(model, log)
    strangers = len(longer.users) - len(model.users)
    text = f"{len(log) - left_out:,} purchases joined the histories, {strangers:,} users are new"
    if left_out:
        text += (
            f"; {left_out:,} purchases of {len(unknown):,} products that the model does not know are left out: "
            f"{_some(unknown.to_list())}"
        )
    say(f"{text}.")
    facts: dict[str, object] = {
        "joined": len(log) - left_out,
        "new_users": strangers,
        "left_out": left_out,
        "unknown_products": unknown.to_list(),
    }
    return longer, {"with_purchases": facts}


def _without_purchases(model: TasteModel, users: pl.Series) -> list[bool]:
    offsets, rows = model.histories.offsets, model.users.rows(users)
    return [bool(empty) for empty in offsets[rows] == offsets[rows + 1]]


def _some(ids: list[object]) -> str:
    more = f" and {len(ids) - 5:,} more" if len(ids) > 5 else ""
    return ", ".join(repr(one) for one in ids[:5]) + more


def _users(model: TasteModel, chosen: str, user: list[str] | None, users: Path | None) -> pl.Series:
    if chosen == "--all-users":
        return model.users.ids
    if users is not None:
        return ids_in(users, model.users)
    return typed(user or [])


def _render(
    lists: Recommendations,
    out: Path | None,
    as_json: bool,
    best_sellers: list[bool],
    facts: dict[str, object],
) -> None:
    if out is not None:
        from tastemaker.ranking.to_file import check_file, write_frame

        with raise_at_once():
            write_frame(lists.to_frame(), check_file(out))
        _say_written(out, len(lists.lists.rows), as_json, facts)
    elif as_json:
        answers = [
            answer | {"best_sellers": best}
            for answer, best in zip(as_json_lists(lists), best_sellers, strict=True)
        ]
        print_json({"recommendations": answers} | said_exact(lists.lists) | facts)
    else:
        print_lists(lists)


def _say_written(out: Path, lines: int, as_json: bool, facts: dict[str, object]) -> None:
    if as_json:
        print_json({"out": str(out), "rows": lines} | facts)
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


def said_exact(lists: RankedLists) -> dict[str, object]:
    """Return what ``--json`` says of lists that an index found; nothing where they are exact."""
    return {} if lists.exact else {"exact": False}


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
