"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemaker.errors import SettingProblem

if TYPE_CHECKING:
    import polars as pl

    from tastemaker.data.vocabulary import Vocabulary

__all__ = [
    "STANDARD_LENGTHS",
    "AsJson",
    "Learning",
    "Lengths",
    "Logs",
    "ModelFolder",
    "OutFile",
    "ProductColumn",
    "QuantityColumn",
    "RankPurchased",
    "Ranking",
    "Threads",
    "TimeColumn",
    "UserColumn",
    "Writers",
    "bytes_of",
    "first_existing",
    "ids_in",
    "log_of",
    "spoken",
    "typed",
    "workers_flag",
]

STANDARD_LENGTHS = (10, 20, 100)
Lengths = Annotated[
    list[int] | None, typer.Option("--at", help="List length; repeatable.", show_default="10, 20, 100")
]
RankPurchased = Annotated[
    bool,
    typer.Option(
        "--include-purchased", help="Rank what the users bought in train, too (for repeat purchases)."
    ),
]
UserColumn = Annotated[
    str | None, typer.Option(help="The column of user ids, when its name is unusual.", show_default=False)
]
ProductColumn = Annotated[
    str | None, typer.Option(help="The column of product ids, when its name is unusual.", show_default=False)
]
TimeColumn = Annotated[
    str | None, typer.Option(help="The column of times; an empty text reads none.", show_default=False)
]
QuantityColumn = Annotated[
    str | None, typer.Option(help="The column of quantities; an empty text reads none.", show_default=False)
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many threads work; the result is the same for any number.", show_default="all"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ModelFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="A model's folder, as `train --out` wrote it.", show_default=False),
]
OutFile = Annotated[
    str | None,
    typer.Option(
        metavar="F|URI",
        help="Write a file (.parquet, .csv, .tsv, .jsonl, .arrow) or a table of a database instead.",
        show_default=False,
    ),
]


def workers_flag(help: str) -> Any:
    """Return the flag that names who works, where no ``--join`` takes ``--on`` for its column."""
    return typer.Option("--workers", "--on", metavar="WHERE", help=help, show_default=False)


Writers = Annotated[
    str | None,
    workers_flag(
        "Write --out as a folder of parts, by the workers of local, local:PROCESSES, ray or ray://HOST:PORT."
    ),
]

Ranking = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="WHERE",
        help="Who ranks: local, local:PROCESSES, ray or ray://HOST:PORT; the numbers are the same.",
    ),
]

Learning = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="WHERE",
        help="Who learns the vectors: local, local:PROCESSES, ray or ray://HOST:PORT; the model is the same.",
    ),
]

Logs = Annotated[
    list[str],
    typer.Argument(
        metavar="LOG...",
        help="The log, or its parts: files, folders, globs, - for standard input, or URIs of a database or object store.",
        show_default=False,
    ),
]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def bytes_of(text: str) -> int:
    """Return the bytes that a size such as ``4G``, ``512MiB`` or ``1e9`` means; raise `SettingProblem` when it means none.

    >>> bytes_of("512M") == 512 * 2**20
    True
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    try:
        size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    except ValueError:
        size = 0
    if size < 1:
        raise SettingProblem(f"--max-memory is {text!r}; it must be a size such as 4G or 512M.")
    return size


def log_of(files: list[str]) -> str | list[str]:
    """Return the one log, or its parts, as the readers take them."""
    return files[0] if len(files) == 1 else files


def spoken(files: list[str]) -> str:
    """Return what the files of a log are called in messages, fit for a terminal."""
    from tastemaker.data.databases.address import address_of, is_address
    from tastemaker.data.reading.files.names import shown

    first, *others = (shown(address_of(file).label if is_address(file) else file) for file in files)
    return first if not others else f"{first} and {len(others):,} more"


def ids_in(file: str | Path, vocabulary: Vocabulary) -> pl.Series:
    """Return the ids that a file lists (Parquet, CSV with or without header, JSON lines, or a plain list)."""
    from tastemaker.data.reading.catalogues import read_catalogue

    return read_catalogue(file, noun=vocabulary.noun).ids


def typed(texts: list[str]) -> pl.Series:
    """Return the ids of a command line as a series of text; a vocabulary of integers parses them itself."""
    import polars as pl

    return pl.Series("id", texts, dtype=pl.String)


def first_existing(given: dict[str, object], choices: str) -> str:
    """Return the one option that was given; raise a usage error when none or several were."""
    chosen = [name for name, value in given.items() if value]
    if len(chosen) != 1:
        found = "none" if not chosen else " and ".join(chosen)
        raise typer.BadParameter(f"give exactly one of {choices}; received {found}.")
    return chosen[0]
