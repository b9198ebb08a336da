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
    to: Annotated[Form, typer.Option(help="The form.", show_default=False)],
    out: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URI#TABLE",
            help="A folder to write; for pgvector a PostgreSQL database.",
            show_default=False,
        ),
    ],
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for others: vectors for a search engine, or graphs that answer by themselves.

    parquet, faiss and pgvector hold ids and vectors, whose inner product is the score but for what the memory adds. onnx and
    tensorflow hold graphs with the lists of users and the neighbours of products, memory included: those of `recommend` and
    `similar`.
    """
    from tastemaker.data.databases.address import address_of, is_address
    from tastemaker.model.folder import load
    from tastemaker.ranking.export.onnx_form import to_onnx
    from tastemaker.ranking.export.tensorflow_form import to_tensorflow
    from tastemaker.ranking.export.vectors import to_faiss, to_parquet, to_pgvector

    if is_address(out) != (to == "pgvector"):
        wanted = "a database, such as postgresql://db/shop#vectors" if to == "pgvector" else "a folder"
        raise SettingProblem(f"--out of --to {to} is {wanted}.")
    if not is_address(out) and to != "parquet" and Path(out).exists():
        raise FolderExists(f"{out} exists already; an export never overwrites: choose a new folder.")
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
