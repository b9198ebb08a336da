"""`Tabular`: results that are tables, as a frame of Polars, pandas or Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.errors import SettingProblem

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Tabular"]


class Tabular:
    """What has `to_frame`, a Polars frame, and so is a frame of pandas and of Arrow, too.

    It holds nothing. That these are methods of one class, against the house's rule, keeps their names and errors alike everywhere.
    """

    __slots__ = ()

    def to_frame(self) -> pl.DataFrame:
        """Return a Polars frame."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return `to_frame` as a pandas frame; raise `SettingProblem` where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise SettingProblem("pandas is not installed: pip install pandas.") from None
        frame = self.to_frame()
        return pandas.DataFrame({column.name: column.to_numpy() for column in frame.iter_columns()})

    def to_arrow(self) -> Any:
        """Return `to_frame` as a table of Arrow; raise `SettingProblem` where pyarrow is not installed."""
        try:
            return self.to_frame().to_arrow()
        except ModuleNotFoundError:
            raise SettingProblem("pyarrow is not installed: pip install pyarrow.") from None
