"""Products of dense matrices by tiles that stay in registers: every output is one chain of multiply-adds over the inner index.

The chain begins with what the output holds and takes the inner index in order, each step rounded once. So the bits do
not depend on the tiles, on how rows are shared out over threads, or on what stands beside them; BLAS promises none of this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from tastemaker.kernels.compiling import kernel
from tastemaker.kernels.lanes import (
    F32,
    I32,
    I64,
    LANES,
    NUMBER,
    WIDE,
    WIDE_INT,
    at,
    begun,
    call,
    cgutils,
    fuse,
    fused,
    fused_one,
    load,
    load_line,
    nothing,
    plus,
    spread_over,
    store_line,
    total,
    turned,
)
from tastemaker.types import Floats

__all__ = ["add_product", "chain", "dot", "multiply_add", "total_of", "turn_over"]


def _registers() -> bool:
    """Return whether the machine that is compiled for has 32 registers of sixteen numbers (AVX-512)."""
    return "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2]


def _tile_function(module: Any, rows: int, blocks: int, *, ragged: bool) -> Any:
    """Return the module's function that computes a tile, written once, since its code is long and kernels call it often.

    It gets where ``out`` begins and how far apart its rows are, then ``a``, its rows and columns, ``b`` and its rows, the length of
    the inner index, and of a ``ragged`` tile how many numbers its value has.
    """
    name = f"tastemaker.tile.{rows}.{blocks}.{ragged}"
    if name in module.globals:
        return module.globals[name]
    number = F32.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [number, I64, number, I64, I64, number, I64, I64, I32])
    function, builder = begun(module, name, kind)
    out, out_row, a, a_row, a_step, b, b_row, inner, width = function.args
    outs = [builder.gep(out, [builder.mul(out_row, ir.Constant(I64, r))]) for r in range(rows)]
    lefts = [builder.gep(a, [builder.mul(a_row, ir.Constant(I64, r))]) for r in range(rows)]
    lane_numbers = ir.Constant(WIDE_INT, list(range(LANES)))
    mask = builder.icmp_signed("<", lane_numbers, spread_over(builder, width, WIDE_INT))

    def line_at(where: Any, n: int) -> Any:
        return _masked_load(builder, where, mask) if ragged else load_line(builder, where, n)

    sums = [[cgutils.alloca_once_value(builder, line_at(where, n)) for n in range(blocks)] for where in outs]
    with cgutils.for_range(builder, inner) as loop:
        row = builder.gep(b, [builder.mul(loop.index, b_row)])
        step = builder.mul(loop.index, a_step)
        lines = [line_at(row, n) for n in range(blocks)]
        for r in range(rows):
            factor = spread_over(builder, builder.load(builder.gep(lefts[r], [step])))
            for n in range(blocks):
                builder.store(fuse(builder, factor, lines[n], builder.load(sums[r][n])), sums[r][n])
    for r in range(rows):
        for n in range(blocks):
            value = builder.load(sums[r][n])
            if ragged:
                _masked_store(builder, value, outs[r], mask)
            else:
                store_line(builder, value, outs[r], n)
    builder.ret_void()
    return function


def _masked_load(builder: Any, where: Any, mask: Any) -> Any:
    zeros = ir.Constant(WIDE, [0.0] * LANES)
    pointer = builder.bitcast(where, WIDE.as_pointer())
    return call(builder, "llvm.masked.load.v16f32.p0", WIDE, pointer, ir.Constant(I32, NUMBER), mask, zeros)


def _masked_store(builder: Any, value: Any, where: Any, mask: Any) -> None:
    pointer, align = builder.bitcast(where, WIDE.as_pointer()), ir.Constant(I32, NUMBER)
    call(builder, "llvm.masked.store.v16f32.p0", ir.VoidType(), value, pointer, align, mask)


def _tile(rows: int, blocks: int, *, ragged: bool = False) -> Any:
    """Return what multiplies ``rows`` rows of one matrix by ``blocks`` values of each row of another, all sums in registers."""

    @intrinsic
    def tile(
        typing: Any, out: Any, out_at: Any, out_row: Any, a: Any, a_at: Any, a_row: Any, a_step: Any,
        b: Any, b_at: Any, b_row: Any, inner: Any, width: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            places = [at(context, builder, signature.args[n], given[n], given[n + 1]) for n in (0, 3, 7)]
            function = _tile_function(builder.module, rows, blocks, ragged=ragged)
            numbers = builder.trunc(given[11], I32)
            builder.call(
                function, [places[0], given[2], places[1], *given[5:7], places[2], *given[9:11], numbers]
            )
            return context.get_dummy_value()

        whole = types.int64
        return types.void(out, whole, whole, a, whole, whole, whole, b, whole, whole, whole, whole), build

    return tile


TALL, BROAD = (6, 4) if _registers() else (6, 1)
"""Rows and values of a tile: as many sums as there are registers for"""
DEEP = 512
"""The inner index is taken in pieces of so many, whose rows stay in the cache for all tiles"""

_tile_large, _tile_low = _tile(TALL, BROAD), _tile(1, BROAD)
_tile_ragged, _tile_small = _tile(TALL, 1, ragged=True), _tile(1, 1, ragged=True)


@kernel(inline=True)
def add_product(
    out: Floats, out_at: int, out_row: int, rows: int, columns: int,
    a: Floats, a_at: int, a_row: int, a_step: int,
    b: Floats, b_at: int, b_row: int, inner: int,
) -> None:  # fmt: skip
    """Add Σ_k a[i, k] · b[k, j] to ``out[i, j]``, i < ``rows``, j < ``columns``, k < ``inner``.

    Of each matrix the place in its array where it begins is given, and how many numbers lie between its rows; ``a_step`` lie
    between the columns of ``a``, so that it may be read turned around.
    """
    for first in range(0, inner, DEEP):
        deep, left, right = min(DEEP, inner - first), a_at + first * a_step, b_at + first * b_row
        j = 0
        while j < columns:
            i, place, column, width = 0, out_at + j, right + j, columns - j
            if width >= BROAD * LANES:
                width = BROAD * LANES
                while i + TALL <= rows:
                    _tile_large(
                        out, place + i * out_row, out_row, a, left + i * a_row, a_row, a_step, b, column, b_row, deep, width
                    )  # fmt: skip
                    i += TALL
                while i < rows:
                    _tile_low(
                        out, place + i * out_row, out_row, a, left + i * a_row, a_row, a_step, b, column, b_row, deep, width
                    )  # fmt: skip
                    i += 1
            else:
                width = min(width, LANES)
                while i + TALL <= rows:
                    _tile_ragged(
                        out, place + i * out_row, out_row, a, left + i * a_row, a_row, a_step, b, column, b_row, deep, width
                    )  # fmt: skip
                    i += TALL
                while i < rows:
                    _tile_small(
                        out, place + i * out_row, out_row, a, left + i * a_row, a_row, a_step, b, column, b_row, deep, width
                    )  # fmt: skip
                    i += 1
            j += width


@kernel(inline=True)
def multiply_add(a: Floats, b: Floats, c: Floats, rows: int, inner: int) -> None:
    """Add ``a[rows, inner] @ b[inner, n]`` to ``c[rows, n]``; ``a`` may have any strides, ``b`` and ``c`` any between rows."""
    add_product(
        c, 0, c.strides[0] // NUMBER, rows, c.shape[1],
        a, 0, a.strides[0] // NUMBER, a.strides[1] // NUMBER,
        b, 0, b.strides[0] // NUMBER, inner,
    )  # fmt: skip


@intrinsic
def _turn_square(typing: Any, source: Any, begin: Any, row: Any, out: Any, place: Any, out_row: Any) -> Any:
    """Set ``out[c, r] = source[r, c]`` of 16 · 16 numbers."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        read = at(context, builder, signature.args[0], given[0], given[1])
        written = at(context, builder, signature.args[3], given[3], given[4])
        rows = [
            load_line(builder, builder.gep(read, [builder.mul(given[2], ir.Constant(I64, r))]), 0)
            for r in range(LANES)
        ]
        for c, line in enumerate(turned(builder, rows)):
            store_line(builder, line, builder.gep(written, [builder.mul(given[5], ir.Constant(I64, c))]), 0)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(source, whole, whole, out, whole, whole), build


_turn: Any = _turn_square


@kernel(inline=True)
def turn_over(source: Floats, out: Floats) -> None:
    """Set ``out[D, S] = source[S, D]`` turned around; S and D are multiples of 16, rows stand one after another."""
    rows, columns = source.shape
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            _turn(source, r * columns + c, columns, out, c * rows + r, rows)


@kernel(inline=True)
def dot(a: Floats, b: Floats) -> np.float32:
    """Return the dot product of ``a[n]`` and ``b[n]``: sixteen sums side by side, which are folded, and then what is left over."""
    whole, sums = a.shape[0] // LANES * LANES, nothing()
    for k in range(0, whole, LANES):
        sums = fused(load(a, k), load(b, k), sums)
    result = total(sums)
    for k in range(whole, a.shape[0]):
        result = fused_one(a[k], b[k], result)
    return np.float32(result)


@kernel(inline=True)
def total_of(a: Floats) -> np.float32:
    """Return the sum of ``a[n]``, in the order of `dot`."""
    whole, sums = a.shape[0] // LANES * LANES, nothing()
    for k in range(0, whole, LANES):
        sums = plus(sums, load(a, k))
    result = total(sums)
    for k in range(whole, a.shape[0]):
        result += a[k]
    return np.float32(result)


@kernel(inline=True)
def chain(first: np.float32, query: Floats, vector: Floats) -> np.float32:
    """Return ``first`` + ``query[D]`` · ``vector`` as lists are ranked by it: dimension after dimension, each step rounded once."""
    result = first
    for d in range(query.shape[0]):
        result = fused_one(query[d], vector[d], result)
    return np.float32(result)
