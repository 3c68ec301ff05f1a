# SPDX-License-Identifier: Apache-2.0
"""A vector of 8 floats for numba kernels: one row of a tile, worked on by single instructions.

Kernels written with it read like arithmetic on one pixel. LLVM splits the vectors where the processor has
shorter ones, so the code is the same on every machine; eight fit one register where there is AVX.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, overload, register_model

from ccl_lgs_ros.rendering.compiled import inner, intrinsic

WIDTH = 8
VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)


class LanesType(types.Type):
    """8 float32."""

    def __init__(self) -> None:
        super().__init__(name=f"lanes{WIDTH}")


class MaskType(types.Type):
    """8 truths."""

    def __init__(self) -> None:
        super().__init__(name=f"lane_mask{WIDTH}")


LANES = LanesType()
MASK = MaskType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VECTOR)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _BITS)


def spread_of(builder: Any, scalar: Any) -> Any:
    """The vector with a number in every lane."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(_INTS, [0] * WIDTH))


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Where the vector begins that lies in a flat float32 array from an index on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


@intrinsic
def broadcast(typing: Any, scalar: Any):
    """All lanes equal to one number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread_of(builder, context.cast(builder, args[0], signature.args[0], types.float32))

    return LANES(scalar), generate


@intrinsic
def load(typing: Any, array: Any, index: Any):
    """The 8 numbers of a flat float32 array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        loaded = builder.load(pointer_to(context, builder, signature.args[0], args[0], args[1]))
        loaded.align = 4
        return loaded

    return LANES(array, types.intp), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any):
    """Ask for the memory at an index of an array, counted flat, before it is needed; it need not exist."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.bitcast(pointer_to(context, builder, signature.args[0], *args), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, *(ir.Constant(ir.IntType(32), number) for number in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any):
    """Put 8 numbers into a flat float32 array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        stored = builder.store(args[2], pointer_to(context, builder, signature.args[0], args[0], args[1]))
        stored.align = 4
        return context.get_dummy_value()

    return types.none(array, types.intp, LANES), generate


def fma_of(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """The instruction a * b + c."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f32"), [a, b, c])


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any):
    """a * b + c."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fma_of(builder, *args)

    return LANES(LANES, LANES, LANES), generate


@intrinsic
def total(typing: Any, value: Any):
    """The sum of the lanes, always added in the same order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{WIDTH}f32")
        return builder.call(function, [ir.Constant(ir.FloatType(), -0.0), args[0]], fastmath=("reassoc",))

    return types.float32(LANES), generate


@intrinsic
def select(typing: Any, mask: Any, yes: Any, no: Any):
    """Per lane `yes` where the mask holds, else `no`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return LANES(MASK, LANES, LANES), generate


@intrinsic
def any_lane(typing: Any, mask: Any):
    """Whether the mask holds anywhere."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(WIDTH), 0))

    return types.boolean(MASK), generate


@intrinsic
def _scaled(typing: Any, value: Any, exponent: Any):
    """value * 2^n, where n are the low bits of `exponent`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, exponent = (builder.bitcast(arg, _INTS) for arg in args)
        moved = builder.shl(exponent, ir.Constant(_INTS, [23] * WIDTH))
        return builder.bitcast(builder.add(value, moved), VECTOR)

    return LANES(LANES, LANES), generate


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def operation(typing: Any, a: Any, b: Any):
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return LANES(LANES, LANES), generate

    return operation


def _comparison(symbol: str) -> Any:
    @intrinsic
    def operation(typing: Any, a: Any, b: Any):
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fcmp_ordered(symbol, *args)

        return MASK(LANES, LANES), generate

    return operation


@intrinsic
def _both(typing: Any, a: Any, b: Any):
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(*args)

    return MASK(MASK, MASK), generate


@intrinsic
def _neither(typing: Any, a: Any):
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.not_(args[0])

    return MASK(MASK), generate


def _define(symbol: Any, operation: Any) -> None:
    def implement(a, b):
        if a is LANES and b is LANES:
            return lambda a, b: operation(a, b)
        if a is LANES and isinstance(b, types.Number):
            return lambda a, b: operation(a, broadcast(b))
        if b is LANES and isinstance(a, types.Number):
            return lambda a, b: operation(broadcast(a), b)
        return None

    overload(symbol)(implement)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_symbol, _arithmetic(_instruction))
for _symbol, _text in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _define(_symbol, _comparison(_text))


@overload(operator.and_)
def _and(a, b):
    return (lambda a, b: _both(a, b)) if a is MASK and b is MASK else None


@overload(operator.invert)
def _not(a):
    return (lambda a: _neither(a)) if a is MASK else None


@inner
def minimum(a, b):
    """The smaller of two per lane."""
    return select(a < b, a, b)


@inner
def maximum(a, b):
    """The larger of two per lane."""
    return select(a > b, a, b)


# 2^x on [-0.5, 0.5]: relative error below 2e-7 with these (fitted by weighted least squares).
# Before them what, added to a float32, rounds it to a whole number in its low bits: 1.5 * 2^23.
EXP2_TERMS = (12582912.0, 1.000000072, 0.6931469671, 0.2402211972, 0.05550713283, 0.009675541311, 0.001327646908)


@inner
def exp2(x, terms):
    """2^x per lane for -100 < x < 100, to float32 precision; anything goes beyond. `terms` are EXP2_TERMS, spread."""
    shifted = x + terms[0]
    f = x - (shifted - terms[0])
    p = fma(f, terms[6], terms[5])
    p = fma(f, p, terms[4])
    p = fma(f, p, terms[3])
    p = fma(f, p, terms[2])
    return _scaled(fma(f, p, terms[1]), shifted)
