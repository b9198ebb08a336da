"""What learning a model costs: seconds, and memory on top of what was in use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["Cost", "costing"]

Made = TypeVar("Made")

PROCESS = Path("/proc/self")
RESET_PEAK = "5"
"""What to write to Linux's ``clear_refs`` to reset the process's peak (man 5 proc)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took to learn a model."""

    seconds: float
    peak_memory_bytes: int | None
    """The process's peak above what it held before; ``None`` where the system does not tell"""


def costing(make: Callable[[], Made]) -> tuple[Made, Cost]:
    """Return what ``make()`` returns, and what that took.

    Memory is the peak of the resident set while making, less what was resident before, as Linux reports it. Freed memory is
    returned first, as far as the C library does; otherwise the work would reuse it and the peak would be too low.
    """
    _give_back()
    before = _resident("VmRSS") if _forget_peak() else None
    clock = time.perf_counter()
    made = make()
    seconds = time.perf_counter() - clock
    peak = None if before is None else _resident("VmHWM")
    return made, Cost(seconds, None if peak is None or before is None else max(0, peak - before))


def _give_back() -> None:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # a C library without malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def _forget_peak() -> bool:
    try:
        (PROCESS / "clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _resident(field: str) -> int | None:
    try:
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
