"""What a notebook shows of a value: cards, tables and intervals as HTML that fits its light and dark themes.

Everything given is escaped but what `drawn_interval` and `html_table` return themselves, which are `Markup`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Cell",
    "Markup",
    "card",
    "counted",
    "drawn_interval",
    "frame_table",
    "html_table",
    "number",
    "quoted",
    "quoted_few",
]


class Markup(str):
    """HTML that was made here, and so is not escaped again."""

    __slots__ = ()


Cell: TypeAlias = object
"""Text, a number, or `Markup`"""

BLUE = "#3b78b5"
WIDTH, HEIGHT = 160, 12


def number(value: object) -> str:
    """Write a value as people read it.

    >>> number(43607), number(0.12345), number(-0.5), number(None), number("hat")
    ('43,607', '0.1235', '-0.5000', '', 'hat')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def counted(many: int, noun: str, one: str = "", several: str = "") -> str:
    """Write a number of things, with the verb that fits.

    >>> counted(1, "row"), counted(2_000, "row"), counted(1, "row", "is", "are"), counted(0, "row", "is", "are")
    ('1 row', '2,000 rows', '1 row is', '0 rows are')
    """
    verb = one if many == 1 else several
    return f"{many:,} {noun}{'' if many == 1 else 's'}{' ' if verb else ''}{verb}"


def quoted(values: Iterable[object]) -> str:
    """Write values in quotes, the long ones cut, as messages show examples of what stands in a file.

    >>> quoted(["hat", 7]), len(quoted(["a" * 5_000]))
    ("'hat', 7", 63)
    """
    return ", ".join(
        repr(value[:60] + "…" if isinstance(value, str) and len(value) > 60 else value) for value in values
    )


def quoted_few(values: Sequence[object], most: int = 20) -> str:
    """Write the first values in quotes, and how many more there are.

    >>> quoted_few(["a", "b", "c"], 2)
    "'a', 'b' and 1 more"
    """
    left = f" and {len(values) - most:,} more" if len(values) > most else ""
    return f"{quoted(values[:most])}{left}"


def html_table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "") -> Markup:
    """Return a table; numbers stand to the right.

    >>> ">&lt;b&gt;</td>" in html_table(["name"], [["<b>"]])
    True
    """
    lines = [f"<caption style='text-align:left'>{escape(caption)}</caption>"] if caption else []
    lines.append(
        "<tr>" + "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in head) + "</tr>"
    )
    for row in rows:
        lines.append("<tr>" + "".join(map(_cell, row)) + "</tr>")
    return Markup(f"<table>{''.join(lines)}</table>")


def frame_table(frame: pl.DataFrame, *, caption: str = "") -> Markup:
    """Return the lines of a frame; ids keep their digits together, scores have four places, other numbers as many as they need."""
    columns = [
        [_written(value, name) for value in frame.get_column(name).to_list()] for name in frame.columns
    ]
    return html_table(frame.columns, list(zip(*columns, strict=True)), caption=caption)


def _written(value: object, name: str) -> Cell:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float) and name != "score":
        return f"{value:,.6g}"
    return value if isinstance(value, float) or name == "rank" else "" if value is None else str(value)


def card(title: str, facts: Mapping[str, Cell], *parts: str) -> str:
    """Return a title, facts under their names, and further parts: `Markup` as it is, text as a paragraph."""
    lines = [f"<p><b>{escape(title)}</b></p>"]
    if facts:
        cells = "".join(
            f"<tr><th style='text-align:left;font-weight:normal;opacity:.7'>{escape(name)}</th>"
            f"<td style='text-align:left'>{_text(value)}</td></tr>"
            for name, value in facts.items()
        )
        lines.append(f"<table>{cells}</table>")
    lines += [part if isinstance(part, Markup) else f"<p>{escape(part)}</p>" for part in parts if part]
    return f"<div>{''.join(lines)}</div>"


def drawn_interval(mean: float, low: float, high: float, *, top: float) -> Markup:
    """Return a dot with its whisker on an axis from 0 to ``top``; the numbers are its title.

    >>> "0.5000 (0.2500–0.7500)" in drawn_interval(0.5, 0.25, 0.75, top=1)
    True
    """
    scale = (WIDTH - 8) / top if top > 0 else 0.0
    at, start, stop = (4 + max(0.0, min(value, top)) * scale for value in (mean, low, high))
    middle = HEIGHT / 2
    return Markup(
        f"<svg width='{WIDTH}' height='{HEIGHT}' role='img'>"
        f"<title>{mean:.4f} ({low:.4f}–{high:.4f})</title>"
        f"<line x1='4' y1='{HEIGHT - 1}' x2='{WIDTH - 4}' y2='{HEIGHT - 1}' stroke='currentColor' stroke-opacity='.15'/>"
        f"<line x1='{start:.1f}' y1='{middle}' x2='{stop:.1f}' y2='{middle}' stroke='{BLUE}' stroke-width='2'/>"
        f"<circle cx='{at:.1f}' cy='{middle}' r='3.5' fill='{BLUE}'/></svg>"
    )


def _cell(value: Cell) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"<td style='text-align:right'>{_text(value)}</td>"
    whole = (
        "" if isinstance(value, str) and " " in value else ";white-space:nowrap"
    )  # an id is one word, hyphens or not
    return f"<td style='text-align:left{whole}'>{_text(value)}</td>"


def _text(value: Cell) -> str:
    return value if isinstance(value, Markup) else escape(number(value))
