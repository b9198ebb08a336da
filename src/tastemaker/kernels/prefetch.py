"""`prefetch` and `prefetch_row`: ask for memory before it is needed, so that many rows are on their way at the same time."""

from __future__ import annotations

from typing import Any

import numba.core.cgutils
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types

from tastemaker.kernels.compiling import kernel
from tastemaker.types import AnyArray, Floats

__all__ = ["LINE", "prefetch", "prefetch_far_row", "prefetch_row"]

cgutils: Any = numba.core.cgutils
intrinsic: Any = numba.extending.intrinsic

LINE = 16
"""Numbers of four bytes in a cache line"""


ALL_CACHES, FROM_THE_SECOND = 3, 2
"""Which caches keep what is asked for, as LLVM says it"""


def _address_asked_for(caches: int, array: Any, *place: Any) -> Any:
    """Type and generate one instruction that asks for the cache line of an element; it changes no value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        element = cgutils.get_item_pointer(context, builder, kind, view, list(arguments[1:]))
        number = ir.IntType(32)
        line = ir.IntType(8).as_pointer()
        shape = ir.FunctionType(ir.VoidType(), [line, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        # to read, into these caches, data
        builder.call(
            function, [builder.bitcast(element, line), *(ir.Constant(number, one) for one in (0, caches, 1))]
        )
        return context.get_dummy_value()

    return types.void(array, *([types.int64] * len(place))), generate


@intrinsic  # type: ignore[untyped-decorator]
def _ask(context: Any, array: Any, place: Any) -> Any:
    return _address_asked_for(ALL_CACHES, array, place)


@intrinsic  # type: ignore[untyped-decorator]
def _ask_2d(context: Any, array: Any, row: Any, column: Any) -> Any:
    return _address_asked_for(ALL_CACHES, array, row, column)


@intrinsic  # type: ignore[untyped-decorator]
def _ask_2d_far(context: Any, array: Any, row: Any, column: Any) -> Any:
    return _address_asked_for(FROM_THE_SECOND, array, row, column)


@kernel(inline=True)
def prefetch(array: AnyArray, place: int) -> None:
    """Ask for ``array[place]`` of an ``array[n]``."""
    _ask(array, np.int64(place))


@kernel(inline=True)
def prefetch_row(table: Floats, row: int) -> None:
    """Ask for ``table[row]`` of a ``float32[n, D]``, a cache line after the other."""
    for d in range(0, table.shape[1], LINE):
        _ask_2d(table, np.int64(row), np.int64(d))


@kernel(inline=True)
def prefetch_far_row(table: Floats, row: int) -> None:
    """Ask for ``table[row]`` as `prefetch_row` does, into the second cache: for what is so far ahead that the first has no room."""
    for d in range(0, table.shape[1], LINE):
        _ask_2d_far(table, np.int64(row), np.int64(d))
