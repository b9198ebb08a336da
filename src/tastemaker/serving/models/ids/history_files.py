"""`HistoryFiles`: what one of millions of users bought, read from the model's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from tastemaker.model.taste_model import TasteModel
from tastemaker.serving.models.ids.files import ReadFile
from tastemaker.types import AnyArray, Counts, Rows

__all__ = ["HistoryFiles"]

MANY = 100_000
"""From so many users on, histories are read; of fewer they are looked at where they are mapped, which is sooner."""

PLACE: Final = np.dtype(np.int64)
ROW: Final = np.dtype(np.int32)


class HistoryFiles:
    """The histories of a model whose files are mapped, a user at a time."""

    def __init__(self, offsets: ReadFile, products: ReadFile, times: ReadFile | None) -> None:
        self._offsets, self._products, self._times = offsets, products, times

    @staticmethod
    def of(model: TasteModel) -> HistoryFiles | None:
        """Return the files of a model with many users; ``None`` for any other, and for one that no file holds."""
        histories, times = model.histories, model.history_times
        offsets, products = _file_of(histories.offsets), _file_of(histories.products)
        if len(model.users) < MANY or offsets is None or products is None:
            return None
        return HistoryFiles(offsets, products, None if times is None else _file_of(times))

    def bought(self, user: int) -> tuple[Rows, Counts | None]:
        """Return what the user at this row bought, ``int32[n]``, and how often; ``None`` means once."""
        low, high = self._offsets.array(PLACE, user, 2).tolist()
        count = high - low
        times = None if self._times is None else self._times.array(ROW, low, count)
        return self._products.array(ROW, low, count), times


def _file_of(array: AnyArray) -> ReadFile | None:
    """Return the file that an array is mapped from: the whole of it, since a part would begin elsewhere."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    path = Path(array.filename)
    return ReadFile(path, array.offset) if path.stat().st_size == array.offset + array.nbytes else None
