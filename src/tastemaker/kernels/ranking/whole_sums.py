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

__all__ = ["GROUP", "QUAD", "TILE", "sum_products", "sum_products_of_tile"]

cgutils: Any = untyped_cgutils
config: Any = untyped_config

GROUP, QUAD = 64, 4
"""Candidates of a group, and dimensions that stand side by side: a group holds, for each quad, the four bytes of each candidate."""

LANES = 16
"""Candidates of one vector of 32-bit sums"""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
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
            multiply = _vnni if has_vnni() else _pairwise
            zero = ir.Constant(SUMS, [0] * LANES)
            parts = range(GROUP // LANES)
            totals = [[cgutils.alloca_once_value(builder, zero) for _ in parts] for _ in range(queries)]
            first = builder.gep(read.data, [given[1]])
            count, width = builder.extract_value(words.shape, 1), builder.extract_value(written.shape, 1)
            with cgutils.for_range(builder, count) as loop:
                start = builder.gep(first, [builder.mul(loop.index, ir.Constant(I64, GROUP * QUAD))])
                loaded = [
                    _load(builder, builder.gep(start, [_number(part * LANES * QUAD)])) for part in parts
                ]
                for query, mine in enumerate(totals):
                    word = builder.add(loop.index, builder.mul(count, _number(query)))
                    quad = _splat(builder, builder.load(builder.gep(words.data, [word])), SUMS)
                    for total, many in zip(mine, loaded, strict=True):
                        builder.store(multiply(builder, builder.load(total), many, quad), total)
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


def _load(builder: Any, where: Any) -> Any:
    loaded = builder.load(builder.bitcast(where, SUMS.as_pointer()))
    loaded.align = 1
    return loaded


TILE = 4
"""Queries of `sum_products_of_tile`: sums of 64 candidates for four of them fill half of the vector registers of AVX-512."""

sum_products: Any = _summed(1)
sum_products_of_tile: Any = _summed(TILE)
"""As kernels call them, without the first argument, which is the compiler's."""
