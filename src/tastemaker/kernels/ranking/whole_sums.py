"""Dot products of whole numbers of one byte, 64 candidates at a time, by the widest instruction that the processor has for it.

The sums are exact, so that every instruction gives the same: VNNI multiplies and adds 64 bytes at once, others take pairs of 16
bits, which LLVM turns into what the machine has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.core import config as untyped_config
from numba.extending import intrinsic

__all__ = ["GROUP", "QUAD", "TILE", "mark_tile", "sum_products", "sum_products_of_tile"]

cgutils: Any = untyped_cgutils
config: Any = untyped_config

GROUP, QUAD = 64, 4
"""Candidates of a group, and dimensions that stand side by side: a group holds, for each quad, the four bytes of each candidate."""

LANES = 16
"""Candidates of one vector of 32-bit sums"""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
SCORES = ir.VectorType(ir.FloatType(), LANES)
SUMS, PAIRS, BYTES = ir.VectorType(I32, LANES), ir.VectorType(I16, 2 * LANES), ir.VectorType(I8, 4 * LANES)


def has_vnni() -> bool:
    """Return whether kernels are compiled for a processor with AVX-512 VNNI."""
    if config.CPU_NAME or config.CPU_FEATURES:  # compiled for another machine than this one
        return "+avx512vnni" in (config.CPU_FEATURES or "")
    return bool(llvm.get_host_cpu_features().get("avx512vnni", False))


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    places = ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), places)


def _vnni(builder: Any, total: Any, codes: Any, quad: Any) -> Any:
    kind = ir.FunctionType(SUMS, [SUMS, SUMS, SUMS])
    name = "llvm.x86.avx512.vpdpbusd.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [total, codes, quad])


def _pairwise(builder: Any, total: Any, codes: Any, quad: Any) -> Any:
    """Add bytes 0 and 2 of each four, then 1 and 3, as pairs of 16 bits: unsigned codes times the signed bytes of the query."""
    for shift in (0, 8):
        low = ir.Constant(SUMS, [0x00FF00FF] * LANES)
        mine = builder.and_(builder.lshr(codes, ir.Constant(SUMS, [shift] * LANES)), low)
        signed = builder.ashr(
            builder.shl(builder.bitcast(quad, PAIRS), ir.Constant(PAIRS, [8 - shift] * 2 * LANES)),
            ir.Constant(PAIRS, [8] * 2 * LANES),
        )
        wide = ir.VectorType(I32, 2 * LANES)
        products = builder.mul(builder.sext(builder.bitcast(mine, PAIRS), wide), builder.sext(signed, wide))
        nothing = ir.Constant(wide, ir.Undefined)
        for odd in (0, 1):
            places = ir.Constant(ir.VectorType(I32, LANES), [2 * lane + odd for lane in range(LANES)])
            total = builder.add(total, builder.shuffle_vector(products, nothing, places))
    return total


def _totals(builder: Any, first: Any, words: Any, count: Any, starts: list[Any]) -> list[list[Any]]:
    """Return, for each query, the places of four vectors of sums: what they start with, and codes · query of a group.

    ``first`` points at the group's codes, ``words`` at ``int32[queries, count]``, each four signed bytes of a query.
    """
    multiply = _vnni if has_vnni() else _pairwise
    parts = range(GROUP // LANES)
    totals = [[cgutils.alloca_once_value(builder, start) for _ in parts] for start in starts]
    with cgutils.for_range(builder, count) as loop:
        start = builder.gep(first, [builder.mul(loop.index, _number(GROUP * QUAD))])
        loaded = [_load(builder, builder.gep(start, [_number(part * LANES * QUAD)]), SUMS) for part in parts]
        for query, mine in enumerate(totals):
            word = builder.add(loop.index, builder.mul(count, _number(query)))
            quad = _splat(builder, builder.load(builder.gep(words, [word])), SUMS)
            for total, many in zip(mine, loaded, strict=True):
                builder.store(multiply(builder, builder.load(total), many, quad), total)
    return totals


def _summed(queries: int) -> Any:
    """Return what sums for so many queries at once: each byte of a code is read once for all of them."""

    @intrinsic
    def sum_products(typing: Any, codes: Any, place: Any, quads: Any, sums: Any, out: Any) -> Any:
        """Set ``sums[q, out:out + GROUP]`` to Σ codes · query q of the candidates of the group that begins at ``codes[place]``.

        ``codes``: unsigned bytes, flat, for each quad the four of each candidate. ``quads``: ``int32[queries, Q]``, each
        four signed bytes of a query. ``sums``: ``int32[queries, ≥ out + GROUP]``. Places and lengths are not checked.
        """

        def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            read, words, written = (
                context.make_array(signature.args[place])(context, builder, given[place])
                for place in (0, 2, 3)
            )
            count, width = builder.extract_value(words.shape, 1), builder.extract_value(written.shape, 1)
            first = builder.gep(read.data, [given[1]])
            totals = _totals(builder, first, words.data, count, [ir.Constant(SUMS, [0] * LANES)] * queries)
            for query, mine in enumerate(totals):
                row = builder.add(given[4], builder.mul(width, _number(query)))
                for part, total in enumerate(mine):
                    where = builder.gep(written.data, [builder.add(row, _number(part * LANES))])
                    kept = builder.store(builder.load(total), builder.bitcast(where, SUMS.as_pointer()))
                    kept.align = 4
            return context.get_dummy_value()

        return types.void(codes, types.int64, quads, sums, types.int64), build

    return sum_products


def _number(value: int) -> Any:
    return ir.Constant(I64, value)


def _load(builder: Any, where: Any, kind: Any) -> Any:
    loaded = builder.load(builder.bitcast(where, kind.as_pointer()))
    loaded.align = 1
    return loaded


TILE = 4
"""Queries of `sum_products_of_tile`: sums of 64 candidates for four of them fill half of the vector registers of AVX-512."""


@intrinsic
def _mark_tile(
    typing: Any,
    codes: Any,
    place: Any,
    quads: Any,
    added: Any,
    about: Any,
    bounds: Any,
    group: Any,
    marks: Any,
) -> Any:
    """Set bit c of ``marks[q, group]`` where the upper bound of candidate c of a group, for query q of four, is not below a score.

    With (t, f, s, o, beat) = ``about[q]`` and the rows (b, n, u, v) of ``bounds`` at the candidate, the bound is
    b + n f + v o + u (s + t · (codes · query q - added[q])); what is no number is marked, too. ``codes``, ``place``, ``quads``: as
    `sum_products_of_tile` reads them. ``added``: ``int32[4]``; ``about``: ``float32[4, 5]``; ``bounds``: ``float32[4, W]``, W being
    a multiple of `GROUP`; ``marks``: ``uint64[4, W / GROUP]``. Places and lengths are not checked.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        arrays = {
            number: context.make_array(signature.args[number])(context, builder, given[number])
            for number in (0, 2, 3, 4, 5, 7)
        }
        words, facts, written = arrays[2], arrays[5], arrays[7]
        count, width = builder.extract_value(words.shape, 1), builder.extract_value(facts.shape, 1)
        starts = [
            _splat(builder, builder.neg(builder.load(builder.gep(arrays[3].data, [_number(q)]))), SUMS)
            for q in range(TILE)
        ]
        totals = _totals(builder, builder.gep(arrays[0].data, [given[1]]), words.data, count, starts)
        asked = [
            [_splat(builder, builder.load(builder.gep(arrays[4].data, [_number(5 * q + n)])), SCORES) for n in range(5)]
            for q in range(TILE)
        ]  # fmt: skip
        found = [ir.Constant(I64, 0)] * TILE
        for part in range(GROUP // LANES):
            at = builder.add(builder.mul(given[6], _number(GROUP)), _number(part * LANES))
            base, norm, scale, outside = (
                _load(
                    builder,
                    builder.gep(facts.data, [builder.add(at, builder.mul(width, _number(row)))]),
                    SCORES,
                )
                for row in range(4)
            )
            for q, (times, by_norm, by_scale, by_outside, beat) in enumerate(asked):
                total = builder.sitofp(builder.load(totals[q][part]), SCORES)
                upper = _fused(builder, norm, by_norm, _fused(builder, outside, by_outside, base))
                upper = _fused(builder, scale, _fused(builder, total, times, by_scale), upper)
                above = builder.bitcast(builder.fcmp_unordered(">", upper, beat), I16)
                moved = builder.shl(builder.zext(above, I64), _number(part * LANES))
                found[q] = builder.or_(found[q], moved)
        groups = builder.extract_value(written.shape, 1)
        for q, bits in enumerate(found):
            where = builder.add(given[6], builder.mul(groups, _number(q)))
            builder.store(bits, builder.gep(written.data, [where]))
        return context.get_dummy_value()

    return types.void(codes, types.int64, quads, added, about, bounds, types.int64, marks), build


def _fused(builder: Any, one: Any, other: Any, more: Any) -> Any:
    flags = ("contract",)
    return builder.fadd(builder.fmul(one, other, flags=flags), more, flags=flags)


sum_products: Any = _summed(1)
sum_products_of_tile: Any = _summed(TILE)
mark_tile: Any = _mark_tile
"""As kernels call them, without the first argument, which is the compiler's."""
