"""``tastemaker export``: a model in the form that another system answers with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tastemaker.cli.terminal.console import print_json, say
from tastemaker.cli.terminal.options import AsJson, ModelFolder, Threads
from tastemaker.errors import FolderExists, SettingProblem

__all__ = ["export"]

Form = Literal["parquet", "faiss", "pgvector", "onnx", "tensorflow"]


def export(
    folder: ModelFolder,
    out: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URI#TABLE",
            help="A folder to write; for pgvector a PostgreSQL database.",
            show_default=False,
        ),
    ],
    to: Annotated[Form | None, typer.Option(help="The form.", show_default=False)] = None,
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors",
            help="Ids and vectors: Parquet and faiss in a folder, tables of pgvector in a database.",
        ),
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for others: vectors for a search engine, or graphs that answer by themselves.

    parquet, faiss and pgvector hold ids and vectors, whose inner product is the score but for what the memory adds; --vectors takes
    the form that --out can hold. onnx and tensorflow hold graphs with the lists of users and the neighbours of products, memory
    included: those of `recommend` and `similar`.
    """
    from tastemaker.data.databases.address import address_of
    from tastemaker.model.folder import load
    from tastemaker.ranking.export.onnx_form import to_onnx
    from tastemaker.ranking.export.tensorflow_form import to_tensorflow
    from tastemaker.ranking.export.vectors import to_faiss, to_parquet, to_pgvector

    to = _form(to, out, vectors=vectors)
    model = load(folder)
    found: dict[str, int] = {}
    if to == "pgvector":
        address = address_of(out)
        found, where = to_pgvector(model, address), f"{address.label}#{address.table or 'vectors'}"
    elif to == "tensorflow":
        path = to_tensorflow(model, Path(out), threads=threads)
        found, where = {"saved_model.pb": (path / "saved_model.pb").stat().st_size}, out
    elif to == "onnx":
        written = to_onnx(model, Path(out), threads=threads)
        found, where = {path.name: path.stat().st_size for path in written}, out
    else:
        found, where = (to_faiss if to == "faiss" else to_parquet)(model, Path(out)), out
    if as_json:
        print_json({"to": to, "out": where, "written": found})
        return
    graphs = to in ("onnx", "tensorflow")
    unit = "bytes" if graphs else "vectors"
    say(f"Wrote {where}: {', '.join(f'{name} ({count:,} {unit})' for name, count in found.items())}.")
    if not graphs and model.memory is not None:
        say(
            "This model has a memory, which no vector holds: lists made from the vectors alone are others than `recommend`'s."
        )


def _form(to: Form | None, out: str, *, vectors: bool) -> Form:
    """Return the form that is asked for; raise where none is, or it and its place do not fit."""
    from tastemaker.data.databases.address import is_address

    if (to is None) != vectors:
        raise SettingProblem("say what to write with --to FORM, or with --vectors; give one of the two.")
    if to is None:
        to = _form_of_vectors(is_address(out))
    if is_address(out) != (to == "pgvector"):
        wanted = "a database, such as postgresql://db/shop#vectors" if to == "pgvector" else "a folder"
        raise SettingProblem(f"--out of --to {to} is {wanted}.")
    if not is_address(out) and to != "parquet" and Path(out).exists():
        raise FolderExists(f"{out} exists already; an export never overwrites: choose a new folder.")
    return to


def _form_of_vectors(into_database: bool) -> Form:
    """Return the form of vectors alone: that of faiss holds Parquet, too, and without faiss there is Parquet."""
    from importlib.util import find_spec

    if into_database:
        return "pgvector"
    if find_spec("faiss") is None:
        say("Without a faiss index: pip install 'tastemaker[index]' brings faiss.")
        return "parquet"
    return "faiss"
