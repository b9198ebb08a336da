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

__all__ = ["GROUP", "QUAD", "sum_products"]

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


@intrinsic
def _sum_products(typing: Any, codes: Any, place: Any, quads: Any, sums: Any, out: Any) -> Any:
    """Set ``sums[out:out + GROUP]`` to Σ codes · query of the candidates of the group that begins at ``codes[place]``.

    ``codes``: unsigned bytes, flat, for each quad the four of each candidate. ``quads``: ``int32[Q]``, each four signed bytes
    of the query. Places and lengths are not checked.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        read, words, written = (
            context.make_array(signature.args[place])(context, builder, given[place]) for place in (0, 2, 3)
        )
        multiply = _vnni if has_vnni() else _pairwise
        zero = ir.Constant(SUMS, [0] * LANES)
        parts = GROUP // LANES
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(parts)]
        first = builder.gep(read.data, [given[1]])
        count = builder.extract_value(words.shape, 0)
        with cgutils.for_range(builder, count) as loop:
            quad = _splat(builder, builder.load(builder.gep(words.data, [loop.index])), SUMS)
            start = builder.gep(first, [builder.mul(loop.index, ir.Constant(I64, GROUP * QUAD))])
            for part in range(parts):
                where = builder.gep(start, [ir.Constant(I64, part * LANES * QUAD)])
                loaded = builder.load(builder.bitcast(where, SUMS.as_pointer()))
                loaded.align = 1
                builder.store(multiply(builder, builder.load(totals[part]), loaded, quad), totals[part])
        for part in range(parts):
            where = builder.gep(written.data, [builder.add(given[4], ir.Constant(I64, part * LANES))])
            kept = builder.store(builder.load(totals[part]), builder.bitcast(where, SUMS.as_pointer()))
            kept.align = 4
        return context.get_dummy_value()

    return types.void(codes, types.int64, quads, sums, types.int64), build


sum_products: Any = _sum_products
"""`_sum_products` as kernels call it, without the first argument, which is the compiler's."""
