"""How kernels are compiled, cached and spread over threads: the one door to Numba."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

MOST_THREADS = max(8, os.cpu_count() or 1)
os.environ.setdefault("NUMBA_NUM_THREADS", str(MOST_THREADS))  # Numba reads it once, when it is imported
# Idle OpenMP threads must sleep, not spin: on a busy machine spinning threads steal the time of those that work
# (measured: an epoch took 2.6 s instead of 0.3 s beside one other busy process on two cores).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba  # noqa: E402
from numba.core import event  # noqa: E402

__all__ = ["MOST_THREADS", "default_threads", "kernel", "on_compile", "threads"]

F = TypeVar("F", bound=Callable[..., Any])

# LLVM may fuse a multiply with the add that follows it, which changes no order of operations: every score is the same
# sum in the same order wherever it is computed. `fast=True` also lets it reorder sums, for loops in which that is harmless.
CONTRACT = {"contract"}
FAST = {"contract", "reassoc", "nsz", "arcp", "nnan", "ninf"}

_parallel_region = threading.Lock()


def kernel(*, parallel: bool = False, fast: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Compile a function with Numba: no Python objects, no GIL, compiled once and then read from the cache."""
    options: dict[str, Any] = {
        "nopython": True,
        "nogil": True,
        "cache": True,
        "parallel": parallel,
        "fastmath": FAST if fast else CONTRACT,
        "error_model": "numpy",
    }
    if inline:
        options["inline"] = "always"

    def decorate(function: F) -> F:
        return cast(F, numba.jit(**options)(function))

    return decorate


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Run the parallel kernels of this block on ``count`` threads (default: all processors).

    One block at a time: Numba's simplest threading layer ends the process when two threads start parallel work at once.
    """
    wanted = min(max(1, count or default_threads()), numba.config.NUMBA_NUM_THREADS)
    with _parallel_region:
        before = numba.get_num_threads()
        numba.set_num_threads(wanted)
        try:
            yield wanted
        finally:
            numba.set_num_threads(before)


class _Listener(event.Listener):  # type: ignore[misc]
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, _: Any) -> None:
        if self._tell is not None:
            tell, self._tell = self._tell, None
            tell()

    def on_end(self, _: Any) -> None:
        pass


@contextmanager
def on_compile(tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` once if a kernel has to be compiled in this block (not when it is read from the cache)."""
    with event.install_listener("numba:compile", _Listener(tell)):
        yield
