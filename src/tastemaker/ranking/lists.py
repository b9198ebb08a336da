"""`RankedLists`: for each query the best candidates, best first; short lists are short, nothing is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tastemaker.data.ragged import offsets_of
from tastemaker.types import Floats, Offsets, Rows

__all__ = ["RankedLists"]


@dataclass(frozen=True, slots=True)
class RankedLists:
    """Ragged ranked lists: query ``q`` has ``rows[offsets[q]:offsets[q + 1]]``, with as many scores."""

    offsets: Offsets
    """``int64[Q + 1]``"""
    rows: Rows
    """``int32[total]``, candidate rows, best first within a list"""
    scores: Floats
    """``float32[total]``, never ascending within a list; equal scores stand in ascending order of row"""
    exact: bool = True
    """Whether these are surely the best; an approximate index may have missed some"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> tuple[Rows, Floats]:
        """Return the candidate rows and the scores of one query."""
        low, high = self.offsets[query : query + 2].tolist()
        return self.rows[low:high], self.scores[low:high]

    def __iter__(self) -> Iterator[tuple[Rows, Floats]]:
        return (self[query] for query in range(len(self)))

    @property
    def lengths(self) -> Offsets:
        """Return the length of each list, ``int64[Q]``."""
        return np.diff(self.offsets)

    @staticmethod
    def joined(parts: Sequence[RankedLists]) -> RankedLists:
        """Put the lists of several parts one after another."""
        lengths = np.concatenate([part.lengths for part in parts]) if parts else np.zeros(0, np.int64)
        return RankedLists(
            offsets_of(lengths),
            np.concatenate([part.rows for part in parts]) if parts else np.zeros(0, np.int32),
            np.concatenate([part.scores for part in parts]) if parts else np.zeros(0, np.float32),
            all(part.exact for part in parts),
        )
