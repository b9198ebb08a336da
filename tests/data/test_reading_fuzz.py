"""A few of the dialects of `benchmarks/fuzz_reading.py`: nothing comes back different in silence."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from reading_dialects import judged

NEEDED = ("fastexcel", "xlsxwriter")


@pytest.mark.parametrize("start", range(0, 160, 20))
def test_a_log_in_any_dialect_is_read_as_it_is_or_refused(tmp_path: Path, start: int):
    for seed in range(start, start + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        verdict, dialect, said = judged(folder, seed)
        if dialect.kind == "xlsx" and not all(map(importlib.util.find_spec, NEEDED)):
            continue
        assert verdict in ("equal", "refused"), f"{seed}: {said} {dialect}"
