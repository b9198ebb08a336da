"""`ReadSummary`: what reading a log counted, dropped and kept."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReadSummary"]


@dataclass(frozen=True, slots=True)
class ReadSummary:
    """Counts of one reading: ``rows = kept + dropped``, and a dropped row counts once, by the first rule it breaks.

    Dropped are, in this order: rows with a null or empty user id, or product id; where times are read, those
    without a time that can be read; where quantities are, those whose quantity is null, no number, or not
    positive (a return). Kept and counted are repeated (user, product) pairs, which are purchases made again.
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
