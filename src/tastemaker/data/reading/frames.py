"""Frames in memory: Polars, pandas, SciPy's sparse matrices, and any other with the Arrow PyCapsule interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import polars as pl

from tastemaker.data.identifiers import series_of_objects
from tastemaker.data.reading.columns import distinct_names
from tastemaker.data.reading.files.source import Source, translated
from tastemaker.errors import DataError

__all__ = ["open_frame"]


def open_frame(source: Any) -> Source:
    """Open a frame; raise `DataError` for anything else."""
    if isinstance(source, pl.DataFrame):
        return _of_lazy(source.lazy(), "the Polars DataFrame")
    if isinstance(source, pl.LazyFrame):
        return _of_lazy(source, "the Polars LazyFrame")
    if type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns"):
        return _of_pandas(source)
    if hasattr(source, "tocoo"):
        return _of_sparse(source)
    if isinstance(source, Mapping):
        return _of_columns(source)
    if hasattr(source, "dtype") and hasattr(source, "index"):
        raise DataError(
            "purchases cannot be read from a pandas Series, which is one column; give a DataFrame: .reset_index() makes one "
            "of a Series whose index holds the ids, such as groupby(…).size()."
        )
    if isinstance(source, pl.Series):
        raise DataError(
            "purchases cannot be read from a Polars Series, which is one column; give a DataFrame."
        )
    if hasattr(source, "__arrow_c_stream__"):
        name = type(source).__name__
        with translated(f"the {name}"):
            return _of_lazy(pl.DataFrame(source).lazy(), f"the {name}")
    raise DataError(
        f"purchases cannot be read from a {type(source).__name__}; "
        "give a path, a Polars, pandas or Arrow frame, a SciPy sparse matrix, a dictionary of columns, or a list of them; "
        "pairs of a user and a product become a frame by pl.DataFrame(pairs, schema=['user', 'product'], orient='row')."
    )


def _of_columns(columns: Mapping[Any, Any]) -> Source:
    """Read a dictionary of columns, each a list, an array or a series of one length."""
    if not all(
        hasattr(value, "__len__") and not isinstance(value, str | bytes) for value in columns.values()
    ):
        raise DataError(
            "purchases cannot be read from a dictionary that is one row; give columns, each a list or an array, or a frame: "
            "pl.DataFrame(rows) makes one of a list of rows."
        )
    names = distinct_names([str(name) for name in columns])
    values = [value.tolist() if hasattr(value, "tolist") else list(value) for value in columns.values()]
    lengths = {name: len(value) for name, value in zip(names, values, strict=True)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name!r} {length:,}" for name, length in lengths.items())
        raise DataError(
            f"the columns of the dictionary are of different lengths ({said}); a row has one value in each."
        )
    series = [series_of_objects(value).alias(name) for name, value in zip(names, values, strict=True)]
    return Source(
        "the dictionary",
        names,
        lambda wanted: pl.DataFrame(series).lazy().select(wanted),
        spells_mixtures=True,
    )


def _of_lazy(frame: pl.LazyFrame, label: str) -> Source:
    with translated(label):
        names = tuple(frame.collect_schema().names())
    return Source(label, names, lambda wanted: frame.select(wanted))


def _of_pandas(frame: Any) -> Source:
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()  # an index that has a name is a column, too
    names = distinct_names([str(name) for name in frame.columns])  # integers are names, too

    def select(wanted: Sequence[str]) -> pl.LazyFrame:
        columns = [_of_pandas_column(frame.iloc[:, names.index(name)], name) for name in wanted]
        return pl.DataFrame(columns).lazy()

    return Source("the pandas DataFrame", names, select, spells_mixtures=True)


def _of_pandas_column(column: Any, name: str) -> pl.Series:
    if getattr(column.dtype, "name", "").startswith("period"):
        column = column.dt.to_timestamp()
    if column.dtype == object:
        return series_of_objects(column.tolist()).alias(name)
    try:
        series = cast("pl.Series", pl.from_pandas(column.reset_index(drop=True), nan_to_null=True))
    except UnicodeEncodeError:
        series = series_of_objects(column.tolist())  # which says what is wrong
    return series.alias(name)


def _of_sparse(matrix: Any) -> Source:
    """Read a matrix of users and products: each entry that is not zero is a purchase, its value the quantity."""
    entries = matrix.tocoo()
    there = entries.data != 0
    frame = pl.DataFrame(
        {
            "user": entries.row[there].astype("int64"),
            "product": entries.col[there].astype("int64"),
            "quantity": entries.data[there].astype("float32"),
        }
    )
    return _of_lazy(
        frame.lazy(), f"the sparse matrix of {matrix.shape[0]:,} users and {matrix.shape[1]:,} products"
    )
