"""`Events`: what users did with products beside buying them, such as views and baskets."""

from __future__ import annotations

from dataclasses import dataclass

from tastemaker.types import AnyArray, Rows, Times

__all__ = ["Events"]


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events of other kinds than *purchase*, over the vocabularies of the log that they stand beside, in its order."""

    user_rows: Rows
    """``int32[E]``"""
    product_rows: Rows
    """``int32[E]``"""
    kinds: AnyArray
    """``int16[E]``, places in ``names``"""
    names: tuple[str, ...]
    """The kinds, such as ``("view", "cart")``; *purchase* is not among them."""
    times: Times | None = None
    """``int64[E]``, microseconds since 1970-01-01 UTC, where the log has times."""

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, chosen: AnyArray) -> Events:
        """Return the events at these positions, or under this mask."""
        times = None if self.times is None else self.times[chosen]
        return Events(
            self.user_rows[chosen], self.product_rows[chosen], self.kinds[chosen], self.names, times
        )
