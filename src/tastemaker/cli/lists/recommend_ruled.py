"""``tastemaker recommend`` with rules or reasons: one visitor after another, as the service answers them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.cli.terminal.console import counting, output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.reading.product_table import ProductTable
    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.fallbacks import Answer, Visitor
    from tastemaker.ranking.rules.rule_book import RuleBook
    from tastemaker.ranking.why import Buyers

__all__ = ["Wishes", "recommend_ruled"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the lists are made and shown."""

    k: int
    include_purchased: bool
    threads: int | None
    rules: Path | None
    catalogue: Path | None
    why: bool
    out: Path | None
    as_json: bool


def recommend_ruled(
    model: TasteModel, asked: pl.Series, visitors: Iterator[Visitor], wishes: Wishes, facts: dict[str, object]
) -> None:
    """Rank for visitors under the rules of a file, and print or write the lists; ``asked`` names the visitors."""
    from tastemaker.data.reading.product_table import empty_table, read_product_table
    from tastemaker.ranking.fallbacks import answer
    from tastemaker.ranking.recommend import product_candidates
    from tastemaker.ranking.rules.rule_book import compile_rules
    from tastemaker.ranking.rules.rules import read_rules
    from tastemaker.ranking.to_file import check_file, write_frame

    if wishes.out is not None:
        check_file(wishes.out)
    table = (
        empty_table(model.products)
        if wishes.catalogue is None
        else read_product_table(wishes.catalogue, model.products)
    )
    book = compile_rules([] if wishes.rules is None else [read_rules(wishes.rules)], model.products, table)
    include = wishes.include_purchased or bool(book.include_purchased)
    if wishes.rules is not None:
        _say_rules(book, len(model.products))
    candidates = product_candidates(model)
    answers = []
    with raise_at_once(), counting("users", len(asked)) as bar:
        for visitor in visitors:
            answers.append(
                answer(
                    model, candidates, table, visitor, book,
                    k=wishes.k, include_purchased=include, threads=wishes.threads,
                )
            )  # fmt: skip
            bar.update(bar.task_ids[0], advance=1)
    if wishes.out is not None:
        lines = write_frame(_frame(model, asked, answers), wishes.out)
        if wishes.as_json:
            print_json({"out": str(wishes.out), "rows": lines} | facts)
        else:
            say(f"Wrote {lines:,} lines to {wishes.out}.")
        return
    lists = list(_lists(model, table, asked, answers, include=include, why=wishes.why))
    if wishes.as_json:
        rules = {
            "candidates": len(model.products),
            "allowed": book.remaining,
            "removed": {one.rule: one.removed for one in book.removals},
            "unknown": list(book.unknown),
        }
        print_json({"recommendations": lists, "rules": rules} | facts)
    else:
        _print(asked.name, lists)


def _say_rules(book: RuleBook, products: int) -> None:
    removed = ", ".join(f"{one.rule} {one.removed:,}" for one in book.removals)
    say(
        f"The rules leave {book.remaining:,} of {products:,} products"
        + (f" (removed: {removed})." if removed else ".")
    )
    if book.unknown:
        shown = ", ".join(map(repr, book.unknown[:5])) + (", …" if len(book.unknown) > 5 else "")
        say(f"The model does not know {len(book.unknown):,} of the ids in the rules: {shown}.")


def _frame(model: TasteModel, asked: pl.Series, answers: list[Answer]) -> pl.DataFrame:
    import numpy as np

    from tastemaker.data.ragged import offsets_of
    from tastemaker.ranking.lists import RankedLists
    from tastemaker.ranking.recommend import Recommendations

    lengths = np.array([len(one.ruled.rows) for one in answers], np.int64)
    lists = RankedLists(
        offsets_of(lengths),
        np.concatenate([*(one.ruled.rows for one in answers), np.zeros(0, np.int32)]).astype(np.int32),
        np.concatenate([*(one.ruled.scores for one in answers), np.zeros(0, np.float32)]).astype(np.float32),
    )
    return Recommendations(asked, lists, model.products).to_frame()


def _lists(
    model: TasteModel,
    table: ProductTable,
    asked: pl.Series,
    answers: list[Answer],
    *,
    include: bool,
    why: bool,
) -> Iterator[dict[str, Any]]:
    from tastemaker.ranking.why import Buyers

    buyers = Buyers(model) if why else None
    users = model.users.find(asked).to_list() if asked.name == "user_id" else [None] * len(asked)
    for name, user, one in zip(asked.to_list(), users, answers, strict=True):
        ids = model.products.at(one.ruled.rows).to_list()
        scores = one.ruled.scores.tolist()
        products: list[dict[str, Any]] = [
            {"product_id": product, "rank": rank, "score": score}
            for rank, (product, score) in enumerate(zip(ids, scores, strict=True), start=1)
        ]
        for product in products[: one.ruled.pinned]:
            product["pinned"] = True
        if buyers is not None:
            _explain(model, one, user, products, buyers, include=include)
        yield {asked.name: name, "source": one.source, "products": products}


def _explain(
    model: TasteModel,
    one: Answer,
    user: int | None,
    products: list[dict[str, Any]],
    buyers: Buyers,
    *,
    include: bool,
) -> None:
    import numpy as np

    from tastemaker.ranking.why import parts_of, spoken_for

    times = None
    if user is not None and model.history_times is not None:
        low, high = model.histories.offsets[user : user + 2]
        times = np.asarray(model.history_times[low:high])
    parts = parts_of(model, one.speakers, one.ruled.rows, user=user, times=times, include_purchased=include)
    for place, product in enumerate(products):
        product["reasons"] = {
            "popularity": float(parts.popularity[place]),
            "taste": float(parts.own_taste[place]),
            "repeat": float(parts.repeat[place]),
            "purchases": [
                {
                    "product_id": model.products.ids[spoken.row],
                    "taste": spoken.taste,
                    "memory": spoken.memory,
                    "together": spoken.together,
                }
                for spoken in spoken_for(parts, place, buyers=buyers)
            ],
        }


def _print(name: str, lists: list[dict[str, Any]]) -> None:
    from rich.table import Table

    reasons = any("reasons" in product for one in lists for product in one["products"])
    table = Table(name, "rank", "product_id", "score", box=None, header_style="bold", padding=(0, 2))
    if reasons:
        table.add_column("because of")
    for one in lists:
        for product in one["products"]:
            first = str(one[name]) if product["rank"] == 1 else ""
            cells = [first, str(product["rank"]), str(product["product_id"]), f"{product['score']:.4f}"]
            table.add_row(*cells, *([_because(product["reasons"])] if reasons else []))
        if not one["products"]:
            table.add_row(str(one[name]), "", "(nothing left to recommend)", "")
    output().print(table)


def _because(reasons: dict[str, Any]) -> str:
    spoken = [
        f"{one['product_id']} {one['taste'] + one['memory']:.2f}"
        + (f" (bought together by {one['together']:,})" if one["together"] else "")
        for one in reasons["purchases"]
    ]
    if reasons["taste"]:
        spoken.append(f"taste {reasons['taste']:.2f}")
    if reasons["repeat"]:
        spoken.append(f"bought before {reasons['repeat']:.2f}")
    return ", ".join([*spoken, f"popularity {reasons['popularity']:.2f}"])
