"""Meetings of threads inside a kernel: each waits there until all have come, a microsecond where each has a processor.

A meeting is an ``int64[MEETING]``: how many have come, how many meetings there were, and whether it is called off, each in a cache
line of its own. A thread that waits long gives its processor away, so that a thread that has none gets on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import I32, at, cgutils
from tastemaker.types import Offsets

__all__ = ["CALLED_OFF", "MEETING", "meet"]

COME, HELD, CALLED_OFF, MEETING = 0, 16, 32, 48
PATIENCE = np.int64(2_000)
"""Looks before a thread gives its processor away: some microseconds"""


@intrinsic
def _add_one(typing: Any, array: Any, place: Any) -> Any:
    """Add 1 to a number that all threads see; return what it was."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        where = at(context, builder, signature.args[0], *given)
        return builder.atomic_rmw("add", where, ir.Constant(where.type.pointee, 1), "seq_cst")

    return types.int64(array, types.int64), build


@intrinsic
def _seen(typing: Any, array: Any, place: Any) -> Any:
    """Return a number as other threads have left it."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load_atomic(at(context, builder, signature.args[0], *given), "acquire", 8)

    return types.int64(array, types.int64), build


@intrinsic
def _show(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Set a number, and let other threads see all that was written before."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        where = at(context, builder, signature.args[0], *given[:2])
        builder.store_atomic(given[2], where, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), build


@intrinsic
def _give_way(typing: Any) -> Any:
    """Let another thread have this one's processor, where the system has a function for it."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if binding.address_of_symbol("sched_yield"):
            kind = ir.FunctionType(I32, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), build


add_one: Any = _add_one
seen: Any = _seen
show: Any = _show
give_way: Any = _give_way


@kernel(inline=True)
def meet(meeting: Offsets, threads: int) -> None:
    """Return when ``threads`` threads have come, or at once where the meeting is called off."""
    if threads == 1:
        return
    held = seen(meeting, HELD)
    if add_one(meeting, COME) == threads - 1:
        show(meeting, COME, 0)
        show(meeting, HELD, held + 1)
        return
    looks = np.int64(0)
    while seen(meeting, HELD) == held and seen(meeting, CALLED_OFF) == 0:
        looks += 1
        if looks > PATIENCE:
            give_way()
