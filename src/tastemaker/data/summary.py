"""`ReadSummary`: what reading a log counted, dropped and kept."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReadSummary"]


@dataclass(frozen=True, slots=True)
class ReadSummary:
    """Counts of one reading; ``rows = kept + dropped``, and every dropped row is counted once, by the first rule it breaks.

    Dropped: a null or empty user id, then a null or empty product id, then a null time (when a time column is read), then a null or
    non-positive quantity (a return). Kept and counted: repeated (user, product) pairs, which are purchases made again.
    """

    rows: int = 0
    without_user: int = 0
    without_product: int = 0
    without_time: int = 0
    non_positive_quantity: int = 0
    repeats: int = 0

    @property
    def dropped(self) -> int:
        """Return how many rows were dropped, by all rules together."""
        return self.without_user + self.without_product + self.without_time + self.non_positive_quantity

    @property
    def kept(self) -> int:
        """Return how many rows became purchases."""
        return self.rows - self.dropped

    def sentence(self) -> str:
        """Say it in one line for people: ``165,042 rows read, 165,042 kept.``."""
        reasons = {
            "without a user id": self.without_user,
            "without a product id": self.without_product,
            "without a time": self.without_time,
            "with a quantity that is not positive": self.non_positive_quantity,
        }
        dropped = ", ".join(f"{count:,} {why}" for why, count in reasons.items() if count)
        text = f"{self.rows:,} rows read, {self.kept:,} kept"
        if dropped:
            text += f"; dropped {dropped}"
        if self.repeats:
            text += f"; {self.repeats:,} repeat an earlier (user, product) pair and are kept"
        return text + "."
