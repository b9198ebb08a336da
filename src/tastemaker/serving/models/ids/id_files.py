"""`IdFiles`: millions of ids in files that are read a block at a time, so that no process holds them.

The ids lie in ascending order, text as one text after another with the places where each begins. Every `BLOCK`-th is held in
memory: a look-up bisects these, reads one block and bisects that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from tastemaker.data.identifiers import IdForm
from tastemaker.data.vocabulary import Noun, Vocabulary
from tastemaker.errors import DamagedModel
from tastemaker.model.folder import read_ids
from tastemaker.serving.models.ids.files import ReadFile
from tastemaker.storage import writing_folder
from tastemaker.types import AnyArray

__all__ = ["IdFiles", "VocabularyInFiles", "write_ids"]

BLOCK: Final = 512
"""Ids that are read at once"""

AT_ONCE = 1 << 20
"""Ids that are written at once"""

PLACE: Final = np.dtype(np.int64)
ROW: Final = np.dtype(np.int32)


class IdFiles:
    """The ids of a vocabulary, as `write_ids` wrote them to a folder; they stay readable when the folder is removed."""

    def __init__(self, folder: Path) -> None:
        facts = orjson.loads((folder / "facts.json").read_bytes())
        self.count: int = facts["count"]
        self.dtype: str | None = facts["dtype"]
        """NumPy's name of the type of numbers; ``None`` for text"""
        self.least: int | None = facts["least"]
        self.greatest: int | None = facts["greatest"]
        self._marks: list[Any] = orjson.loads((folder / "marks.json").read_bytes())
        self._ids = ReadFile(folder / "ids")
        self._starts = None if self.dtype else ReadFile(folder / "starts")
        self._rows, self._places = (
            None if facts["sorted"] else ReadFile(folder / name) for name in ("rows", "places")
        )

    def row(self, asked: Any) -> int | None:
        """Return the row of an id of the type of ids here; ``None`` where there is none."""
        block = bisect_right(self._marks, asked) - 1
        if block < 0:
            return None
        low = block * BLOCK
        wanted = asked.encode("utf-8", "surrogatepass") if self._starts else asked
        ids = self._between(low, min(low + BLOCK, self.count))
        within = bisect_right(ids, wanted) - 1
        if ids[within] != wanted:
            return None
        return low + within if self._rows is None else int(self._rows.array(ROW, low + within, 1)[0])

    def one(self, row: int) -> Any:
        """Return the id at a row."""
        place = row if self._places is None else int(self._places.array(ROW, row, 1)[0])
        found = self._between(place, place + 1)[0]
        return found.decode() if self._starts else found

    def _between(self, low: int, high: int) -> Sequence[Any]:
        """Return the ids from one place in ascending order to another: numbers, or UTF-8, whose order is that of the texts."""
        if self._starts is None:
            numbers: list[int] = self._ids.array(np.dtype(self.dtype), low, high - low).tolist()
            return numbers
        starts = self._starts.array(PLACE, low, high - low + 1)
        first = int(starts[0])
        return _Texts(self._ids.read(first, int(starts[-1]) - first), starts - first)


class _Texts(Sequence[bytes]):
    """Texts that lie one after another."""

    def __init__(self, content: bytes, starts: AnyArray) -> None:
        self._content, self._starts = content, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, place: Any) -> Any:
        return self._content[self._starts[place] : self._starts[place + 1]]


def write_ids(file: Path, folder: Path, *, is_sorted: bool) -> None:
    """Write the ids of a model's file for `IdFiles`; raise `DamagedModel` where one is missing.

    Sorted ids are read some at a time: what Polars once held it gives back late.
    """
    table = pl.scan_ipc(file).select("id")
    count = int(table.select(pl.len()).collect().item())
    text = table.collect_schema()["id"] == pl.String
    facts: dict[str, Any] = {
        "count": count,
        "sorted": is_sorted,
        "dtype": None,
        "least": None,
        "greatest": None,
    }
    with writing_folder(folder, durable=False) as temporary:
        if not is_sorted:
            order = table.with_row_index("row").collect().sort("id")
            rows = order["row"].to_numpy().astype(ROW)
            rows.tofile(temporary / "rows")
            places = np.empty_like(rows)
            places[rows] = np.arange(count, dtype=ROW)
            places.tofile(temporary / "places")
            table = order.lazy().select("id")
        marks: list[Any] = []
        last: Any = None
        with (temporary / "ids").open("wb") as ids, (temporary / "starts").open("wb") as starts:
            end = 0
            if text:
                starts.write(np.zeros(1, PLACE).tobytes())
            for low in range(0, count, AT_ONCE):
                part = table.slice(low, AT_ONCE).collect().get_column("id")
                if part.null_count():
                    raise DamagedModel(f"{file} holds an id that is missing; train the model again.")
                marks += part.gather_every(BLOCK).to_list()
                last = part[-1]
                if text:
                    ends = end + np.cumsum(part.str.len_bytes().to_numpy(), dtype=PLACE)
                    end = int(ends[-1])
                    starts.write(ends.tobytes())
                    ids.write(part.str.join("").item().encode())
                else:
                    numbers = part.to_numpy()
                    facts["dtype"] = numbers.dtype.name
                    ids.write(numbers.tobytes())
        if not text and count:
            facts |= {"least": marks[0], "greatest": last}
        (temporary / "marks.json").write_bytes(orjson.dumps(marks))
        (temporary / "facts.json").write_bytes(orjson.dumps(facts))


class VocabularyInFiles(Vocabulary):
    """A vocabulary that no process holds: a few ids are looked up in files, and `ids` reads all of them at each call."""

    def __init__(self, file: Path, files: IdFiles, noun: Noun, form: IdForm, is_sorted: bool) -> None:
        """``file`` is the model's own, and ``files`` hold the same ids."""
        for name, value in (
            ("file", file), ("files", files), ("noun", noun), ("form", form), ("is_sorted", is_sorted),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    file: Path
    files: IdFiles

    @property
    def ids(self) -> pl.Series:
        """Return all ids, read anew: for what is asked for seldom, such as a search."""
        return read_ids(self.file)

    def __len__(self) -> int:
        return self.files.count
