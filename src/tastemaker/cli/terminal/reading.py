"""`ReadingOptions`: the flags by which every command reads a log in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from tastemaker.cli.terminal.flags import takes_flags
from tastemaker.cli.terminal.options import ProductColumn, QuantityColumn, TimeColumn, UserColumn
from tastemaker.errors import SettingProblem

if TYPE_CHECKING:
    from tastemaker.data.reading.columns import Columns
    from tastemaker.data.reading.options import Features, Reading

__all__ = ["ReadingOptions", "takes_reading"]

Flag = Annotated[bool, typer.Option()]
Texts = list[str] | None
PANEL = "Reading"


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The flags of reading, as they came; `columns` and `reading` say them in the words of the library."""

    user_column: UserColumn = None
    product_column: ProductColumn = None
    time_column: TimeColumn = None
    quantity_column: QuantityColumn = None
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first line names the columns.",
            show_default="the rows tell",
            rich_help_panel=PANEL,
        ),
    ] = None
    where: Annotated[
        Texts,
        typer.Option(
            metavar="CONDITION",
            help="Read rows that meet this alone, such as 'status = paid'; repeatable.",
            rich_help_panel=PANEL,
        ),
    ] = None
    join: Annotated[
        Texts,
        typer.Option(
            metavar="F",
            help="A file whose columns stand beside the log's (orders and their lines); repeatable.",
            rich_help_panel=PANEL,
        ),
    ] = None
    on: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="The column by which --join joins. Without --join, local, ray or ray://HOST:PORT is the same as --workers.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    day_first: Annotated[
        bool,
        typer.Option(
            "--day-first",
            help="01/02/2024 is 1 February.",
            show_default="the rows tell",
            rich_help_panel=PANEL,
        ),
    ] = False
    month_first: Annotated[
        bool,
        typer.Option(
            "--month-first",
            help="01/02/2024 is 2 January.",
            show_default="the rows tell",
            rich_help_panel=PANEL,
        ),
    ] = False
    time_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="How times are written, such as '%d.%m.%y %H:%M'.",
            show_default="the rows tell",
            rich_help_panel=PANEL,
        ),
    ] = None
    time_unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT",
            help="What numbers count: seconds, milliseconds, microseconds, nanoseconds, days, steps, excel.",
            show_default="the rows tell",
            rich_help_panel=PANEL,
        ),
    ] = None
    keep_null_words: Annotated[
        bool,
        typer.Option(
            "--keep-null-words",
            help="Ids such as NULL, nan and N/A are ids, not empty.",
            rich_help_panel=PANEL,
        ),
    ] = False
    event_column: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="The column that tells purchases from views and other events.",
            show_default="every row is a purchase",
            rich_help_panel=PANEL,
        ),
    ] = None
    event: Annotated[
        Texts,
        typer.Option(
            metavar="KIND=WORD,…",
            help="The words of a kind of event, such as purchase=transaction; repeatable.",
            rich_help_panel=PANEL,
        ),
    ] = None
    context: Annotated[
        str | None,
        typer.Option(
            metavar="C,C",
            help="Columns that say how a purchase came about.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    user_features: Annotated[
        str, typer.Option(metavar="C,C|auto|none", help="Columns that describe users.", rich_help_panel=PANEL)
    ] = "none"
    product_features: Annotated[
        str,
        typer.Option(metavar="C,C|auto|none", help="Columns that describe products.", rich_help_panel=PANEL),
    ] = "none"

    weight_column: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="A column of ratings or quantities: how much a purchase tells of taste, if that helps.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    value_column: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="A column of prices or margins, of the log or of --products, for --objective revenue.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    query: Annotated[
        str | None,
        typer.Option(
            metavar="SQL", help="What is read of a database.", show_default=False, rich_help_panel=PANEL
        ),
    ] = None
    table: Annotated[
        str | None,
        typer.Option(metavar="T", help="The table of a database.", show_default=False, rich_help_panel=PANEL),
    ] = None

    def and_workers(self, workers: str) -> tuple[ReadingOptions, str]:
        """Return the flags of reading and who works: ``--on ray`` without a join names workers, not a column."""
        from tastemaker.scale.where import is_place

        if self.on is None or self.join or not is_place(self.on):
            return self, workers
        if workers not in ("local", self.on):
            raise typer.BadParameter(
                f"--on {self.on} and --workers {workers} both say who works: give one of them."
            )
        return replace(self, on=None), self.on

    def columns(self) -> Columns:
        """Return the columns that flags name."""
        from tastemaker.data.reading.columns import Columns

        return Columns(self.user_column, self.product_column, self.time_column, self.quantity_column)

    def reading(self) -> Reading:
        """Return how to read; raise `SettingProblem` where flags contradict each other."""
        from tastemaker.data.reading.options import Reading

        if self.day_first and self.month_first:
            raise SettingProblem("--day-first and --month-first exclude each other.")
        return Reading(
            header=self.header,
            where=tuple(self.where or ()),
            join=tuple(self.join or ()),
            on=self.on,
            day_first=True if self.day_first else False if self.month_first else None,
            time_format=self.time_format,
            time_unit=self.time_unit,  # type: ignore[arg-type]
            keep_null_words=self.keep_null_words,
            event_column=self.event_column,
            events=_kinds(self.event or []),
            context=_split(self.context),
            user_features=_features(self.user_features),
            product_features=_features(self.product_features),
            weight_column=self.weight_column,
            value_column=self.value_column,
            query=self.query,
            table=self.table,
        )


takes_reading = takes_flags
"""Commands with a parameter of type `ReadingOptions` get its flags."""


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _features(text: str) -> Features:
    return text if text in ("auto", "none") else _split(text)  # type: ignore[return-value]


def _kinds(texts: list[str]) -> dict[str, tuple[str, ...]]:
    kinds: dict[str, tuple[str, ...]] = {}
    for text in texts:
        kind, sign, words = text.partition("=")
        if not sign or not kind.strip() or not _split(words):
            raise SettingProblem(
                f"--event {text!r} is not of the form KIND=WORD,WORD, such as purchase=transaction."
            )
        kinds[kind.strip()] = kinds.get(kind.strip(), ()) + _split(words)
    return kinds
