"""How kernels are compiled and cached: the one door to Numba."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import numba
from numba.core import event

from tastemaker.errors import SettingProblem

__all__ = ["check_cache", "kernel", "on_compile"]

F = TypeVar("F", bound=Callable[..., Any])

# LLVM may fuse a multiply with the add that follows it, which changes no order of operations: every score is the same
# sum in the same order wherever it is computed. `fast=True` also lets it reorder and assume: for loops without a sum of float32,
# whose order would be another one on another kind of processor (`kernels.products.dot` has one order).
CONTRACT = {"contract"}
FAST = {"contract", "reassoc", "nsz", "arcp", "nnan", "ninf"}


def kernel(*, fast: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Compile a function with Numba: no Python objects, no GIL, compiled once and then read from the cache.

    A kernel that other kernels call must be ``inline``: it then becomes a part of each of them. Otherwise a process that compiles
    calls the one copy, a process that reads its cache calls another, LLVM optimises the two apart, and the last bits of a sum
    differ. The cache keeps no copy of its own of an inline kernel, so Python code calls none.
    """
    options: dict[str, Any] = {
        "nopython": True,
        "nogil": True,
        "cache": not inline,
        "fastmath": FAST if fast else CONTRACT,
        "error_model": "numpy",
    }
    if inline:
        options["forceinline"] = True

    def decorate(function: F) -> F:
        return cast(F, numba.jit(**options)(function))

    return decorate


def check_cache(folder: str) -> None:
    """Raise `SettingProblem` where others may write to the folder of compiled kernels: whoever can, runs code in this process.

    Nothing is wrong with a folder that does not exist yet, or with one that root or its own group alone may write to.
    """
    try:
        found = os.stat(folder)
    except OSError:
        return
    others = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid())
    if others or found.st_uid not in (os.geteuid(), 0):
        raise SettingProblem(
            f"others may write to NUMBA_CACHE_DIR ({folder}), and what lies there runs as code; "
            "give a folder that you alone may write to, or run chmod go-w on it."
        )


if folder := os.environ.get("NUMBA_CACHE_DIR"):
    check_cache(folder)


def _without_scipy() -> None:
    """Let Numba ask for SciPy's BLAS when a function that it compiles needs it, and not once in every process that loads a kernel.

    Its module of array functions asks at its import, only to know whether there is one: a tenth of a second and 10 MiB.
    """
    from numba.np import linalg

    asks: Callable[[], None] = linalg.ensure_blas

    def ensure_blas() -> None:
        if hasattr(sys.modules.get("numba.np.arraymath"), "_HAVE_BLAS"):
            asks()

    linalg.ensure_blas = ensure_blas


with suppress(ImportError, AttributeError):  # another Numba may have neither
    _without_scipy()


class _Listener(event.Listener):
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
