"""How lists are shown: as a table for people, with reasons where there are some, or in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.cli.terminal.console import counting, output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.ranking.recommend import Recommendations
    from tastemaker.ranking.rules.rule_book import RuleBook
    from tastemaker.ranking.why import Reason

__all__ = ["print_lists", "say_rules", "say_written", "some", "write"]


def write(rank: Callable[[pl.Series], Recommendations], asked: pl.Series, file: Path, what: str) -> int:
    """Rank for all that is asked, block by block, and write the lists; return the number of lines."""
    from tastemaker.ranking.to_file import check_file, write_lists

    check_file(file)
    with raise_at_once(), counting(what, len(asked)) as bar:
        return write_lists(
            asked, rank, file, on_progress=lambda done: bar.update(bar.task_ids[0], advance=done)
        )


def say_written(file: Path, lines: int, as_json: bool, facts: dict[str, object]) -> None:
    """Say what was written, as JSON with other facts or in a sentence."""
    if as_json:
        print_json({"out": str(file), "rows": lines} | facts)
    else:
        say(f"Wrote {lines:,} lines to {file}.")


def say_rules(book: RuleBook) -> None:
    """Say on stderr how many products the rules leave, and which of their ids are unknown."""
    removed = ", ".join(f"{removal.rule} {removal.removed:,}" for removal in book.removals)
    say(
        f"The rules leave {book.remaining:,} of {book.candidates:,} products"
        + (f" (removed: {removed})." if removed else ".")
    )
    if book.unknown:
        shown = ", ".join(map(repr, book.unknown[:5])) + (", …" if len(book.unknown) > 5 else "")
        say(f"The model does not know {len(book.unknown):,} of the ids in the rules: {shown}.")


def some(ids: Sequence[object]) -> str:
    """Return the first five ids, and how many more there are."""
    more = f" and {len(ids) - 5:,} more" if len(ids) > 5 else ""
    return ", ".join(map(repr, ids[:5])) + more


def print_lists(lists: Recommendations) -> None:
    """Print a table of all lists for people."""
    from rich.table import Table

    explained = lists.found is not None and lists.found.reasons is not None
    because = ["because of"] if explained else []
    columns = [lists.queries.name, "rank", lists.answer, "score", *because]
    table = Table(*columns, box=None, header_style="bold", padding=(0, 2))
    for q, query in enumerate(lists.queries.to_list()):
        products = lists.of(q)
        reasons = lists.about(q).reasons or () if explained else ()
        for place, (product, score) in enumerate(products):
            first = str(query) if not place else ""
            why = [_because(lists, reasons[place])] if explained else []
            table.add_row(first, str(place + 1), str(product), f"{score:.4f}", *why)
        if not products:
            table.add_row(str(query), "", "(nothing left to recommend)", "")
    output().print(table)


def _because(lists: Recommendations, reason: Reason) -> str:
    spoken = [
        f"{lists.products.ids[purchase.row]} {purchase.weight:.2f}"
        + (f" (bought together by {purchase.together:,})" if purchase.together else "")
        for purchase in reason.purchases
    ]
    if reason.taste:
        spoken.append(f"taste {reason.taste:.2f}")
    if reason.repeat:
        spoken.append(f"bought before {reason.repeat:.2f}")
    return ", ".join([*spoken, f"popularity {reason.popularity:.2f}"])
