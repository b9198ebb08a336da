"""``tastemaker recommend``: what users, or a basket, would buy next."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.lists.index import Approximately, approximate_of
from tastemaker.cli.lists.showing import (
    check_parted,
    names_of,
    print_lists,
    ranked,
    say_rules,
    say_written,
    some,
    write,
    write_parted,
)
from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.objective import Objective, Tail, ValueDial, aimed, check_objective
from tastemaker.cli.terminal.options import (
    AsJson,
    ModelFolder,
    OutFile,
    ProductColumn,
    QuantityColumn,
    Threads,
    UserColumn,
    Writers,
    first_existing,
    ids_in,
    spoken,
    typed,
)
from tastemaker.display import counted

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.reading.columns import Columns
    from tastemaker.model.taste_model import TasteModel
    from tastemaker.ranking.packed import PackedModel
    from tastemaker.ranking.recommend import Recommendations, Visit
    from tastemaker.ranking.rules.rule_book import RuleBook

__all__ = ["recommend"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the lists are made and shown."""

    k: int
    include_purchased: bool | None
    """``None`` leaves it to the rules"""
    explain: bool
    threads: int | None
    rules: Path | None
    out: str | None
    as_json: bool


User = Annotated[list[str] | None, typer.Option(metavar="ID", help="A user; repeatable.", show_default=False)]
Users = Annotated[str | None, typer.Option(metavar="F", help="A file of user ids.", show_default=False)]
AllUsers = Annotated[bool, typer.Option("--all-users", help="Every user of the model.")]
Basket = Annotated[
    str | None,
    typer.Option(metavar="ID,ID,…", help="Product ids of a visitor's basket.", show_default=False),
]
Length = Annotated[int, typer.Option(help="List length.")]
IncludePurchased = Annotated[
    bool, typer.Option("--include-purchased", help="Recommend what was bought already, too.")
]
WithPurchases = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="A log of newer purchases; they join the histories, nothing is trained.",
        show_default=False,
    ),
]
RulesFile = Annotated[
    Path | None, typer.Option(metavar="F", help="What may be recommended (JSON or TOML).", show_default=False)
]
CatalogueFile = Annotated[
    str | None,
    typer.Option(
        metavar="F", help="A table of products: names to show, columns for rules.", show_default=False
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="What is known of this request; repeatable.", show_default=False),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="What is known of the user; repeatable.", show_default=False),
]
Viewed = Annotated[
    str | None,
    typer.Option(metavar="ID,ID,…", help="Products just viewed, the oldest first.", show_default=False),
]
At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="When the visitor asks; by default after all that is known.", show_default=False
    ),
]
Why = Annotated[bool, typer.Option("--why", help="Say which purchases speak for each product.")]


# long: every option of the command is a parameter, a line each
def recommend(
    folder: ModelFolder,
    user: User = None,
    users: Users = None,
    all_users: AllUsers = False,
    basket: Basket = None,
    k: Length = 10,
    include_purchased: IncludePurchased = False,
    with_purchases: WithPurchases = None,
    rules: RulesFile = None,
    catalogue: CatalogueFile = None,
    why: Why = False,
    context: Context = None,
    attribute: Attribute = None,
    viewed: Viewed = None,
    at: At = None,
    objective: Objective = "likely",
    value_dial: ValueDial = 1.0,
    tail: Tail = 0.0,
    approximate: Approximately = False,
    user_column: UserColumn = None,
    product_column: ProductColumn = None,
    quantity_column: QuantityColumn = None,
    out: OutFile = None,
    workers: Writers = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Recommend products to users of the log, or to a visitor with a basket.

    `--out` writes the columns user_id, product_id, rank, score: ids in their own type, rank from 1. A list is shorter when fewer
    products remain. Users without a purchase that the model knows get the best sellers. With --context, --attribute, --viewed or
    --at the list is for one visitor: a --user, a --basket, both or neither. With --objective revenue lists are by expected value,
    where training was told the --value-column. With --workers, --all-users and --out FOLDER several processes or a Ray cluster
    write Parquet parts, the same wherever they are made; ended early, the same command writes what is missing.
    """
    from tastemaker.data.reading.columns import Columns
    from tastemaker.model.folder import load
    from tastemaker.ranking.export.parts import ListJob
    from tastemaker.ranking.packed import pack

    if workers is not None:
        beside: dict[str, object] = {
            "--all-users": all_users, "--user": user, "--users": users, "--basket": basket,
            "--with-purchases": with_purchases, "--context": context, "--attribute": attribute,
            "--viewed": viewed, "--at": at, "--approximate": approximate,
        }  # fmt: skip
        check_parted(beside, "--all-users", out)
        dial = check_objective(objective, value_dial, tail=tail)
        lists = ListJob(
            str(folder), "users", k, include_purchased or None,
            None if rules is None else str(rules), catalogue, why, dial,
        )  # fmt: skip
        write_parted(lists, str(out), workers, threads, as_json=as_json)
        return
    if context or attribute or viewed or at is not None:
        others = users is not None or all_users or with_purchases is not None or out is not None
        visit = replace(_visit(user, basket, context, attribute, viewed, others=others), at=at)
        wishes = Wishes(k, include_purchased or None, why, threads, rules, None, as_json)
        _for_visit(pack(aimed(load(folder), objective, value_dial, tail), catalogue=catalogue), visit, wishes)
        return
    given: dict[str, object] = {
        "--user": user,
        "--users": users,
        "--all-users": all_users,
        "--basket": basket is not None,
    }
    chosen = first_existing(given, "--user, --users, --all-users, --basket")
    if basket is not None and with_purchases is not None:
        raise typer.BadParameter("--with-purchases is for users; add its products to the --basket instead.")
    if approximate and (objective != "likely" or tail):
        raise typer.BadParameter(
            "--approximate is for plain lists; lists by --objective revenue or --tail are exact."
        )
    if approximate and (rules is not None or why):
        raise typer.BadParameter(
            "--approximate is for plain lists; lists under --rules or with --why are exact."
        )
    wishes = Wishes(k, include_purchased or None, why, threads, rules, out, as_json)
    model = aimed(load(folder), objective, value_dial, tail)
    index = approximate_of(folder, model, approximate)
    facts: dict[str, object] = {}
    if with_purchases is not None:
        # a time would say nothing here
        columns = Columns(user=user_column, product=product_column, time="", quantity=quantity_column)
        model, facts = _folded_in(model, with_purchases, columns)
    packed = pack(model, catalogue=catalogue, candidates=index)
    if basket is not None:
        _for_basket(packed, basket, wishes)
    else:
        _for_users(packed, _users(model, chosen, user, users), wishes, facts)


def _for_users(packed: PackedModel, asked: pl.Series, wishes: Wishes, facts: dict[str, object]) -> None:
    """Rank for users, and show or write their lists."""
    from tastemaker.ranking.index.narrowed import packed_for
    from tastemaker.ranking.recommend import recommend

    without = _without_purchases(packed.model, asked)
    if without:
        say(f"{without:,} of these users have no purchase; they get the best sellers.")
    book = _book(packed, wishes)
    packed = packed_for(packed, len(asked), wishes.k, threads=wishes.threads)
    rank = partial(
        recommend, packed, k=wishes.k, include_purchased=wishes.include_purchased,
        rules=book, explain=wishes.explain, threads=wishes.threads,
    )  # fmt: skip
    if wishes.out is not None:
        say_written(wishes.out, write(rank, asked, wishes.out, "users"), wishes.as_json, facts)
        return
    _show(packed, ranked(rank, asked, "users"), book, wishes, facts)


def _for_basket(packed: PackedModel, basket: str, wishes: Wishes) -> None:
    """Rank for a basket, and show or write its list."""
    from tastemaker.ranking.recommend import recommend_baskets

    products, unknown = _products(packed, basket)
    book = _book(packed, wishes)

    def rank(ids: pl.Series) -> Recommendations:
        return recommend_baskets(
            packed, [ids], k=wishes.k, include_purchased=wishes.include_purchased,
            rules=book, explain=wishes.explain, threads=wishes.threads,
        )  # fmt: skip

    facts: dict[str, object] = {"unknown_products": unknown}
    if wishes.out is not None:
        say_written(wishes.out, write(rank, products, wishes.out, "users"), wishes.as_json, facts)
        return
    _show(packed, [rank(products)], book, wishes, facts)


def _visit(
    user: list[str] | None,
    basket: str | None,
    context: list[str] | None,
    attributes: list[str] | None,
    viewed: str | None,
    *,
    others: bool,
) -> Visit:
    """Return what the flags say of a visitor; raise a usage error for what is not NAME=VALUE, is said twice, or is of several."""
    from tastemaker.ranking.recommend import Visit

    if others or len(user or []) > 1:
        raise typer.BadParameter(
            "--context, --attribute, --viewed and --at are for one visitor: with one --user, a --basket, both or neither."
        )
    return Visit(
        user[0] if user else None,
        _ids(basket or ""),
        _named("--context", context or []),
        _named("--attribute", attributes or []),
        _ids(viewed or ""),
    )


def _named(flag: str, texts: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise typer.BadParameter(f"{flag} {text!r} is not of the form NAME=VALUE.")
        if name.strip() in values:
            raise typer.BadParameter(f"{flag} names {name.strip()!r} twice; give it one value.")
        values[name.strip()] = value.strip()
    return values


def _for_visit(packed: PackedModel, visit: Visit, wishes: Wishes) -> None:
    """Rank for one visitor, using what is known of them beside purchases, and show the list."""
    from tastemaker.ranking.recommend import recommend_visits

    book = _book(packed, wishes)
    lists = recommend_visits(
        packed, [visit], k=wishes.k, include_purchased=wishes.include_purchased,
        rules=book, explain=wishes.explain, threads=wishes.threads,
    )  # fmt: skip
    unknown = list((lists.unknown or ((),))[0])
    if unknown:
        say(f"The model does not know {some(unknown)}; the rest is used.")
    _show(packed, [lists], book, wishes, {"unknown": [str(name) for name in unknown]})


def _show(
    packed: PackedModel,
    blocks: list[Recommendations],
    book: RuleBook,
    wishes: Wishes,
    facts: dict[str, object],
) -> None:
    """Show lists as a table or as JSON."""
    from tastemaker.ranking.as_json import COMMAND_LINE, plain, rules_json

    if not wishes.as_json:
        print_lists(blocks, names_of(packed.catalogue))
        return
    answers = [
        answer | {"best_sellers": answer["source"] not in ("personal", "basket")}
        for lists in blocks
        for answer in lists.to_json(COMMAND_LINE)
    ]
    ruled = wishes.rules is not None or wishes.explain
    rules = {"rules": plain(rules_json(book, book.removals))} if ruled else {}
    exact = {} if all(lists.lists.exact for lists in blocks) else {"exact": False}
    print_json({"recommendations": answers} | rules | exact | facts)


def _book(packed: PackedModel, wishes: Wishes) -> RuleBook:
    """Read the rules, and say what they come to."""
    from tastemaker.ranking.recommend import book_of

    book = book_of(packed, wishes.rules)
    if wishes.rules is not None:
        say_rules(book)
    return book


def _products(packed: PackedModel, basket: str) -> tuple[pl.Series, list[object]]:
    """Return the products of a basket that can be used, and those that the model does not know, which are said on stderr."""
    from tastemaker.ranking.recommend import known_part

    model, table = packed.model, packed.catalogue
    ids = _ids(basket)
    known, unknown = known_part(model, typed(ids))
    described = set() if table is None else set(table.strangers.get_column("id"))
    used = [*known, *(product for product in unknown if str(product) in described)]
    if unknown:
        s, are = ("", "is") if len(unknown) == 1 else ("s", "are")
        rest = "the rest is used" if known else "no product is left"
        say(f"Product{s} {some(unknown)} {are} not among the {len(model.products):,} known; {rest}.")
    if not known:
        said = " of the categories that the catalogue names" if used else ""
        say(f"The basket holds no product that the model knows; these are the best sellers{said}.")
    return typed([str(product) for product in used]), unknown


def _ids(text: str) -> list[str]:
    return [part.strip() for part in next(csv.reader([text], skipinitialspace=True), []) if part.strip()]


def _folded_in(model: TasteModel, file: str, columns: Columns) -> tuple[TasteModel, dict[str, object]]:
    """Let the purchases of a file join the histories; return the facts for ``--json`` too, having said them on stderr."""
    from tastemaker.data.reading.readers import read_purchases
    from tastemaker.ranking.fold_in import fold_in, unknown_products

    log = read_purchases(file, columns=columns)
    say(f"{spoken([file])}: {log.summary.sentence()}")
    unknown, left_out = unknown_products(model, log)
    longer = fold_in(model, log)
    strangers = len(longer.users) - len(model.users)
    text = f"{counted(len(log) - left_out, 'purchase')} joined the histories, {counted(strangers, 'user', 'is', 'are')} new"
    if left_out:
        text += (
            f"; {counted(left_out, 'purchase')} of {counted(len(unknown), 'product')} that the model does not know left out: "
            f"{some(unknown.to_list())}"
        )
    say(f"{text}.")
    facts: dict[str, object] = {
        "joined": len(log) - left_out,
        "new_users": strangers,
        "left_out": left_out,
        "unknown_products": unknown.to_list(),
    }
    return longer, {"with_purchases": facts}


def _without_purchases(model: TasteModel, users: pl.Series) -> int:
    """Return how many of these users have no purchase."""
    offsets, rows = model.histories.offsets, model.users.rows(users)
    return int((offsets[rows] == offsets[rows + 1]).sum())


def _users(model: TasteModel, chosen: str, user: list[str] | None, users: str | None) -> pl.Series:
    if chosen == "--all-users":
        return model.users.ids
    if users is not None:
        return ids_in(users, model.users)
    return typed(user or [])
