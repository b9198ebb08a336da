"""How lists are shown: as a table for people, with reasons where there are some, or in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tastemaker.cli.terminal.console import counting, output, print_json, say
from tastemaker.cli.terminal.interrupts import raise_at_once
from tastemaker.display import counted

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.reading.product_table import ProductTable
    from tastemaker.ranking.export.parts import ListJob
    from tastemaker.ranking.recommend import Recommendations
    from tastemaker.ranking.rules.rule_book import RuleBook
    from tastemaker.ranking.why import Reason

__all__ = [
    "check_parted",
    "names_of",
    "print_lists",
    "ranked",
    "say_rules",
    "say_written",
    "some",
    "write",
    "write_parted",
]

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


def check_parted(given: dict[str, object], all_flag: str, out: str | None) -> None:
    """Raise a usage error for flags beside ``--workers`` that workers elsewhere could not heed."""
    if out is None or not given.pop(all_flag):
        raise typer.BadParameter(
            f"--workers writes the lists of all in parts; give {all_flag} and --out FOLDER."
        )
    beside = [flag for flag, value in given.items() if value]
    if beside:
        raise typer.BadParameter(f"--workers makes lists from files alone; leave {' and '.join(beside)} out.")


def write_parted(job: ListJob, out: str, on: str, threads: int | None, *, as_json: bool) -> None:
    """Let the workers of an executor write the parts of all lists, and say who did what."""
    from tastemaker.model.folder import load
    from tastemaker.ranking.export.parts import write_parts
    from tastemaker.scale.where import executor_of

    executor = executor_of(on, threads)
    model = load(job.model)
    rows = len(model.users if job.what == "users" else model.products)
    with raise_at_once(), counting(job.what, rows) as bar:
        written = write_parts(
            job,
            Path(out),
            executor,
            on_progress=lambda done: bar.update(bar.task_ids[0], advance=done),
            on_worker=lambda tally: bar.update(bar.task_ids[0], description=tally.sentence()),
        )
    if as_json:
        tally = {"workers": dict(written.tally.workers), "again": written.tally.lost}
        facts = {"out": out, "rows": written.lines, "parts": written.parts, "kept": written.kept}
        print_json(facts | tally)
        return
    kept = f", {written.kept:,} of them kept from an earlier run" if written.kept else ""
    who = f" {written.tally.sentence()}." if written.tally.workers else ""
    say(f"Wrote {counted(written.lines, 'line')} in {counted(written.parts, 'part')} to {out}{kept}.{who}")


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
        say(f"Wrote {counted(lines, 'line')} to {place}.")


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
