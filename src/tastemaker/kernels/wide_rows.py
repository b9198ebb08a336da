"""Rows of float32 in whole cache lines, sixteen numbers at a time: their dot products and weighted sums, in a stated order.

LLVM turns vectors of sixteen into what the machine has (one register of AVX-512, two of AVX2, four of NEON), so that the sums are
the same everywhere. Three things that a loop in Numba does not get: the query and the running sums stay in registers, sixteen dot
products are folded together at their end, and no store is feared to change what is read next.

``blocks`` is a tuple with one entry for each sixteen numbers of a row: its length is known when a kernel is compiled. Places count
numbers from the beginning of an array, rows are those of a table whose rows are exactly so long (of `chain_rows`, of any length).
Nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tastemaker.kernels.lanes import (
    F32,
    I32,
    I64,
    LANES,
    NUMBER,
    WIDE,
    at,
    begun,
    cgutils,
    fuse,
    lanes,
    load_line,
    spread_over,
    store_line,
    turned,
)

__all__ = ["LANES", "add_row", "add_rows", "chain_rows", "dot_rows"]

LINE = 64
"""The alignment of a row in bytes"""


def _row(builder: Any, table: Any, row: Any, blocks: int) -> Any:
    return builder.gep(table, [builder.mul(builder.zext(row, I64), ir.Constant(I64, LANES * blocks))])


def _folded(builder: Any, vectors: list[Any]) -> Any:
    """Return the sums of sixteen vectors as one: number l is added to l + 8, then l + 4, l + 2, l + 1."""
    half = LANES // 2
    while len(vectors) > 1:
        groups = LANES // (2 * half)
        low = [group * 2 * half + place for group in range(groups) for place in range(half)]
        masks = [
            ir.Constant(ir.VectorType(I32, LANES), [*places, *(LANES + place for place in places)])
            for places in (low, [place + half for place in low])
        ]
        vectors = [
            builder.fadd(*(builder.shuffle_vector(one, other, mask) for mask in masks))
            for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        half //= 2
    return vectors[0]


@intrinsic
def _dot_rows(
    typing: Any, query: Any, begin: Any, table: Any, rows: Any, first: Any, blocks: Any, out: Any, place: Any
) -> Any:
    """Set ``out[place:place + 16]`` to the dot products of the query at ``begin`` with the rows ``rows[first:first + 16]``."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kinds, count = signature.args, len(blocks)
        asked = at(context, builder, kinds[0], given[0], given[1])
        base = at(context, builder, kinds[2], given[2], ir.Constant(I64, 0))
        named = at(context, builder, kinds[3], given[3], given[4])
        parts = [load_line(builder, asked, block, NUMBER) for block in range(count)]
        sums = []
        for lane in range(LANES):
            row = _row(builder, base, builder.load(builder.gep(named, [ir.Constant(I64, lane)])), count)
            total = builder.fmul(parts[0], load_line(builder, row, 0, LINE))
            for block in range(1, count):
                total = fuse(builder, parts[block], load_line(builder, row, block, LINE), total)
            sums.append(total)
        written = at(context, builder, kinds[6], given[6], given[7])
        store_line(builder, _folded(builder, sums), written, 0, NUMBER)
        return context.get_dummy_value()

    return types.void(query, types.int64, table, rows, types.int64, blocks, out, types.int64), build


@intrinsic
def _add_rows(
    typing: Any,
    out: Any,
    place: Any,
    weights: Any,
    begin: Any,
    count: Any,
    table: Any,
    rows: Any,
    first: Any,
    blocks: Any,
) -> Any:
    """Add Σ_j weights[begin + j] · table[rows[first + j]], j < count, to the row of ``out`` at ``place``, one row after another."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kinds, width = signature.args, len(blocks)
        written = at(context, builder, kinds[0], given[0], given[1])
        weighed = at(context, builder, kinds[2], given[2], given[3])
        base = at(context, builder, kinds[5], given[5], ir.Constant(I64, 0))
        named = at(context, builder, kinds[6], given[6], given[7])
        sums = [
            cgutils.alloca_once_value(builder, load_line(builder, written, block, NUMBER))
            for block in range(width)
        ]
        with cgutils.for_range(builder, given[4]) as loop:
            row = _row(builder, base, builder.load(builder.gep(named, [loop.index])), width)
            weight = spread_over(builder, builder.load(builder.gep(weighed, [loop.index])))
            for block, total in enumerate(sums):
                more = fuse(builder, weight, load_line(builder, row, block, LINE), builder.load(total))
                builder.store(more, total)
        for block, total in enumerate(sums):
            store_line(builder, builder.load(total), written, block, NUMBER)
        return context.get_dummy_value()

    return types.void(
        out, types.int64, weights, types.int64, types.int64, table, rows, types.int64, blocks
    ), build  # fmt: skip


@intrinsic
def _add_row(typing: Any, table: Any, row: Any, weight: Any, source: Any, place: Any, blocks: Any) -> Any:
    """Add ``weight`` times the row of ``source`` at ``place`` to the row of ``table``."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kinds, width = signature.args, len(blocks)
        length = ir.Constant(I64, LANES * width)
        changed = at(context, builder, kinds[0], given[0], builder.mul(given[1], length))
        read = at(context, builder, kinds[3], given[3], given[4])
        factor = spread_over(builder, given[2])
        for block in range(width):
            before = load_line(builder, changed, block, LINE)
            after = fuse(builder, factor, load_line(builder, read, block, NUMBER), before)
            store_line(builder, after, changed, block, LINE)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.float32, source, types.int64, blocks), build


def _chain_function(module: Any) -> Any:
    """Return the module's function of `chain_rows`, written once, since its code is long.

    It gets where the query, the table and the rows' numbers begin, how long a row is, and what the sums begin with.
    """
    name = "tastemaker.chain_rows"
    if name in module.globals:
        return module.globals[name]
    number = F32.as_pointer()
    kind = ir.FunctionType(WIDE, [number, number, I32.as_pointer(), I64, WIDE])
    function, builder = begun(module, name, kind)
    query, table, named, width, start = function.args
    each = [ir.Constant(I64, lane) for lane in range(LANES)]
    places = [
        builder.mul(builder.sext(builder.load(builder.gep(named, [lane])), I64), width) for lane in each
    ]
    rows = [builder.gep(table, [place]) for place in places]
    sums = cgutils.alloca_once_value(builder, start)

    def add(column: Any, place: Any) -> None:
        asked = spread_over(builder, builder.load(builder.gep(query, [place])))
        builder.store(fuse(builder, asked, column, builder.load(sums)), sums)

    blocks = builder.udiv(width, ir.Constant(I64, LANES))
    with cgutils.for_range(builder, blocks) as loop:
        first = builder.mul(loop.index, ir.Constant(I64, LANES))
        lines = [load_line(builder, builder.gep(row, [first]), 0, NUMBER) for row in rows]
        for lane, column in zip(each, turned(builder, lines), strict=True):
            add(column, builder.add(first, lane))
    done = builder.mul(blocks, ir.Constant(I64, LANES))
    with cgutils.for_range(builder, builder.sub(width, done)) as loop:
        place = builder.add(done, loop.index)
        column = ir.Constant(WIDE, ir.Undefined)
        for lane, row in enumerate(rows):
            value = builder.load(builder.gep(row, [place]))
            column = builder.insert_element(column, value, ir.Constant(I32, lane))
        add(column, place)
    builder.ret(builder.load(sums))
    return function


@intrinsic
def _chain_rows(typing: Any, query: Any, table: Any, rows: Any, first: Any, sums: Any) -> Any:
    """Return ``sums`` plus the dot product of the query with each of the rows ``rows[first:first + 16]``, one to a lane.

    Rows of the table may be of any length, and stand one after another. Each product is one chain of multiply-adds over the numbers
    of a row in turn, each rounded once, as a loop of `fused_one` would be: sixteen numbers of sixteen rows at a time are turned
    over.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kinds, zero = signature.args, ir.Constant(I64, 0)
        asked = at(context, builder, kinds[0], given[0], zero)
        table_ = context.make_array(kinds[1])(context, builder, given[1])
        width = builder.extract_value(table_.shape, 1)
        named = at(context, builder, kinds[2], given[2], given[3])
        return builder.call(_chain_function(builder.module), [asked, table_.data, named, width, given[4]])

    return lanes(query, table, rows, types.int64, lanes), build


chain_rows: Any = _chain_rows
dot_rows: Any = _dot_rows
add_rows: Any = _add_rows
add_row: Any = _add_row
"""As kernels call them, without the first argument, which is the compiler's."""
