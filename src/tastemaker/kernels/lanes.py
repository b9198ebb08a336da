"""Sixteen float32 as one value, a cache line, and what a kernel does with it: nothing is left to the compiler.

LLVM turns a value into what the machine has: one register of AVX-512, two of AVX2, four of NEON. Sums have the order written here
everywhere, and what a loop keeps in such values stays in registers: no store is feared to change what is read next.

Places count numbers from the beginning of an array, whatever its shape. Nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba.core.cgutils
from llvmlite import ir
from numba import types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.datamodel.registry import register_default
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "at",
    "begun",
    "call",
    "exponential",
    "fuse",
    "fused",
    "fused_one",
    "greater",
    "greatest",
    "hidden",
    "load",
    "load_line",
    "minus",
    "nothing",
    "over",
    "plus",
    "spread",
    "spread_over",
    "store",
    "store_line",
    "times",
    "total",
    "turned",
]

cgutils: Any = numba.core.cgutils

LANES = 16
"""float32 numbers in a value"""

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
WIDE, WIDE_INT = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
ANYTHING = ir.Constant(WIDE, ir.Undefined)
NUMBER = 4
"""The alignment of a float32 in bytes, all that a place promises"""


class Lanes(types.Type):
    """The type of a value, as Numba sees it."""

    def __init__(self) -> None:
        super().__init__(name="Lanes16f32")


lanes = Lanes()


@register_default(Lanes)
class LanesModel(PrimitiveModel):
    """A value is a vector of LLVM's."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, WIDE)  # type: ignore[no-untyped-call]


# --- What generates instructions: also for `wide_rows` and `products` -----------------------------------------------------------


def at(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Return the address of a number of an array, counted from its beginning."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


def load_line(builder: Any, where: Any, block: int, align: int = NUMBER) -> Any:
    """Load the value ``block`` values beyond an address."""
    place = builder.gep(where, [ir.Constant(I64, LANES * block)])
    loaded = builder.load(builder.bitcast(place, WIDE.as_pointer()))
    loaded.align = align
    return loaded


def store_line(builder: Any, value: Any, where: Any, block: int, align: int = NUMBER) -> None:
    """Store a value ``block`` values beyond an address."""
    place = builder.gep(where, [ir.Constant(I64, LANES * block)])
    builder.store(value, builder.bitcast(place, WIDE.as_pointer())).align = align


def fuse(builder: Any, one: Any, other: Any, more: Any) -> Any:
    """Return one · other + more, rounded once."""
    return call(builder, "llvm.fma.v16f32", WIDE, one, other, more)


def spread_over(builder: Any, number: Any, kind: Any = WIDE) -> Any:
    """Return a vector of one number sixteen times."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(WIDE_INT, [0] * LANES))


def turned(builder: Any, lines: list[Any]) -> list[Any]:
    """Return sixteen vectors turned over: number l of vector c is number c of line l."""
    lines, half = list(lines), LANES // 2
    while half:  # squares of this size change places across the diagonal of those of twice the size
        low = [c if not c & half else LANES + c - half for c in range(LANES)]
        high = [c + half if not c & half else LANES + c for c in range(LANES)]
        masks = [ir.Constant(WIDE_INT, places) for places in (low, high)]
        for r in range(LANES):
            if not r & half:
                pair = lines[r], lines[r + half]
                lines[r], lines[r + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        half //= 2
    return lines


def begun(module: Any, name: str, kind: Any) -> tuple[Any, Any]:
    """Return a new function of a module, and what writes its code: for code so long that kernels call it, and repeat it nowhere."""
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    return function, ir.IRBuilder(function.append_basic_block())


def call(builder: Any, name: str, result: Any, *given: Any) -> Any:
    """Return what a function of LLVM's own makes of some values."""
    kind = ir.FunctionType(result, [one.type for one in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), list(given))


def _all(number: float) -> Any:
    return ir.Constant(WIDE, [number] * LANES)


def _halves(builder: Any, value: Any) -> tuple[Any, Any]:
    count = value.type.count // 2
    low, high = (
        ir.Constant(ir.VectorType(I32, count), list(places))
        for places in (range(count), range(count, 2 * count))
    )
    return builder.shuffle_vector(value, value, low), builder.shuffle_vector(value, value, high)


def _folded(builder: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
    """Join lane l with l + 8, then l + 4, l + 2, l + 1; return the one that is left."""
    while value.type.count > 1:
        value = join(*_halves(builder, value))
    return builder.extract_element(value, ir.Constant(I32, 0))


def _greater(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


# --- What kernels call, without the first argument, which is the compiler's -----------------------------------------------------


@intrinsic
def _load(typing: Any, array: Any, place: Any) -> Any:
    """Return ``array.flat[place:place + 16]``."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return load_line(builder, at(context, builder, signature.args[0], *given), 0)

    return lanes(array, types.int64), build


@intrinsic
def _store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    """Set ``array.flat[place:place + 16]``."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        store_line(builder, given[2], at(context, builder, signature.args[0], *given[:2]), 0)
        return context.get_dummy_value()

    return types.void(array, types.int64, lanes), build


@intrinsic
def _spread(typing: Any, number: Any) -> Any:
    """Return a number sixteen times."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return spread_over(builder, given[0])

    return lanes(types.float32), build


@intrinsic
def _nothing(typing: Any) -> Any:
    """Return sixteen zeros."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _all(0.0)

    return lanes(), build


@intrinsic
def _fused(typing: Any, one: Any, other: Any, more: Any) -> Any:
    """Return one · other + more, rounded once."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return fuse(builder, *given)

    return lanes(lanes, lanes, lanes), build


@intrinsic
def _fused_one(typing: Any, one: Any, other: Any, more: Any) -> Any:
    """Return one · other + more of three numbers, rounded once.

    Left to the compiler, a chain of these in a loop is not fused on ARM: it multiplies many at once, and then adds in order.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return call(builder, "llvm.fma.f32", F32, *given)

    return types.float32(types.float32, types.float32, types.float32), build


@intrinsic
def _plus(typing: Any, one: Any, other: Any) -> Any:
    """Return one + other."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fadd(*given)

    return lanes(lanes, lanes), build


@intrinsic
def _minus(typing: Any, one: Any, other: Any) -> Any:
    """Return one - other."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fsub(*given)

    return lanes(lanes, lanes), build


@intrinsic
def _times(typing: Any, one: Any, other: Any) -> Any:
    """Return one · other."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fmul(*given)

    return lanes(lanes, lanes), build


@intrinsic
def _over(typing: Any, one: Any, other: Any) -> Any:
    """Return one / other."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fdiv(*given)

    return lanes(lanes, lanes), build


@intrinsic
def _greater_of(typing: Any, one: Any, other: Any) -> Any:
    """Return the greater of both, lane by lane."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _greater(builder, *given)

    return lanes(lanes, lanes), build


@intrinsic
def _total(typing: Any, value: Any) -> Any:
    """Return the sum of all lanes: l and l + 8 first, then l + 4, l + 2, l + 1."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _folded(builder, given[0], builder.fadd)

    return types.float32(lanes), build


@intrinsic
def _greatest(typing: Any, value: Any) -> Any:
    """Return the greatest of all lanes."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _folded(builder, given[0], lambda one, other: _greater(builder, one, other))

    return types.float32(lanes), build


@intrinsic
def _hidden(typing: Any, value: Any, rows: Any, place: Any, row: Any) -> Any:
    """Return the value, -1e30 in the lanes l where ``rows.flat[place + l]`` is ``row``."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        where = at(context, builder, signature.args[1], given[1], given[2])
        named = builder.load(builder.bitcast(where, WIDE_INT.as_pointer()))
        named.align = NUMBER
        own = spread_over(builder, given[3], WIDE_INT)
        return builder.select(builder.icmp_signed("==", named, own), _all(-1e30), given[0])

    return lanes(lanes, rows, types.int64, types.int32), build


TAYLOR = (1.3333558e-3, 9.6181291e-3, 5.5504109e-2, 2.4022651e-1, 6.9314718e-1, 1.0)
"""2^f, |f| ≤ ½, by its Taylor polynomial: the coefficients of f⁵ … f⁰, after that of f⁶"""
LOG2_E = 1.4426950408889634


@intrinsic
def _exponential(typing: Any, value: Any) -> Any:
    """Return exp(x) of each lane x ≤ 0, relative error below 3e-7 + 8e-8 · |x|; what is below 2⁻¹²⁶ becomes that.

    As `kernels.learning.softmax.exponentials`: 2^k · 2^f, k the nearest whole number of x · log₂e.
    """

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x = _greater(builder, builder.fmul(given[0], _all(LOG2_E)), _all(-126.0))
        whole = call(builder, "llvm.rint.v16f32", WIDE, x)
        rest, power = builder.fsub(x, whole), _all(1.5403530e-4)
        for factor in TAYLOR:
            power = fuse(builder, power, rest, _all(factor))
        biased = builder.add(builder.fptosi(whole, WIDE_INT), ir.Constant(WIDE_INT, [127] * LANES))
        scale = builder.shl(biased, ir.Constant(WIDE_INT, [23] * LANES))
        return builder.fmul(power, builder.bitcast(scale, WIDE))

    return lanes(lanes), build


load: Any = _load
store: Any = _store
spread: Any = _spread
nothing: Any = _nothing
fused: Any = _fused
fused_one: Any = _fused_one
plus: Any = _plus
minus: Any = _minus
times: Any = _times
over: Any = _over
greater: Any = _greater_of
total: Any = _total
greatest: Any = _greatest
hidden: Any = _hidden
exponential: Any = _exponential
