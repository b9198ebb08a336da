"""How lists are shown: as a table for people, with reasons where there are some, or in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tastemaker.cli.terminal.console import counting, output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.reading.product_table import ProductTable
    from tastemaker.ranking.recommend import Recommendations
    from tastemaker.ranking.rules.rule_book import RuleBook
    from tastemaker.ranking.why import Reason

__all__ = ["names_of", "print_lists", "ranked", "say_rules", "say_written", "some", "write"]

AT_ONCE = 1 << 12
"""Lists that are ranked between two steps of the bar."""


def write(rank: Callable[[pl.Series], Recommendations], asked: pl.Series, out: str, what: str) -> int:
    """Rank for all that is asked, block by block, and write the lists; return the number of lines."""
    from tastemaker.ranking.export.to_file import check_out, write_lists

    target = check_out(out)
    with raise_at_once(), counting(what, len(asked)) as bar:
        return write_lists(
            asked, rank, target, on_progress=lambda done: bar.update(bar.task_ids[0], advance=done)
        )


def ranked(
    rank: Callable[[pl.Series], Recommendations], asked: pl.Series, what: str
) -> list[Recommendations]:
    """Rank for all that is asked; where that is much, block by block under a bar."""
    if len(asked) <= AT_ONCE:
        return [rank(asked)]
    found = []
    with raise_at_once(), counting(what, len(asked)) as bar:
        for low in range(0, len(asked), AT_ONCE):
            found.append(rank(asked[low : low + AT_ONCE]))
            bar.update(bar.task_ids[0], advance=len(found[-1].queries))
    return found


def names_of(table: ProductTable | None) -> pl.Series | None:
    """Return the column of a catalogue that names the products, by its usual name, length P."""
    column = None if table is None else table.named("name")
    return None if table is None or column is None else table.column(column)


def say_written(out: str, lines: int, as_json: bool, facts: dict[str, object]) -> None:
    """Say what was written, as JSON with other facts or in a sentence."""
    from tastemaker.ranking.export.to_file import check_out, spoken_out

    place = spoken_out(check_out(out))
    if as_json:
        print_json({"out": place, "rows": lines} | facts)
    else:
        say(f"Wrote {lines:,} lines to {place}.")


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


def print_lists(blocks: Sequence[Recommendations], names: pl.Series | None = None) -> None:
    """Print a table of all lists for people, with the products' names where a catalogue has them."""
    from rich.table import Table
    from rich.text import Text

    first = blocks[0]
    explained = first.found is not None and first.found.reasons is not None
    columns = [first.queries.name, "rank", first.answer, *([] if names is None else ["name"]), "score"]
    table = Table(
        *columns, *(["because of"] if explained else []), box=None, header_style="bold", padding=(0, 2)
    )
    for lists in blocks:
        for q, query in enumerate(lists.queries.to_list()):
            rows, scores = lists.lists[q]
            reasons = lists.about(q).reasons or () if explained else ()
            for place, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
                cells = [str(query) if not place else "", str(place + 1), str(lists.products.ids[row])]
                if names is not None:
                    cells.append(str(names[row] or ""))
                why = [_because(lists, reasons[place])] if explained else []
                table.add_row(*map(Text, [*cells, f"{score:.4f}", *why]))
            if not len(rows):
                table.add_row(Text(str(query)), "", "(nothing left to recommend)")
    output().print(table)


def _because(lists: Recommendations, reason: Reason) -> str:
    spoken = [
        f"{lists.products.ids[purchase.row]} {purchase.weight:.2f}"
        + (f" (bought together by {purchase.together:,})" if purchase.together else "")
        for purchase in reason.purchases
    ]
    for fact in reason.facts or ():
        product = "" if fact.row is None else f" {lists.products.ids[fact.row]}"
        spoken.append(f"{fact.name}{product} {fact.weight:.2f}")
    if reason.taste:
        spoken.append(f"taste {reason.taste:.2f}")
    if reason.repeat:
        spoken.append(f"bought before {reason.repeat:.2f}")
    return ", ".join([*spoken, f"popularity {reason.popularity:.2f}"])
