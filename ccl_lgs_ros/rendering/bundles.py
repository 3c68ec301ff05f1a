# SPDX-License-Identifier: Apache-2.0
"""Several vectors at once, held in registers through a loop: the channels of a row of pixels, or of a splat.

A bundle is a tuple of vectors; its operations are unrolled, so that each is as many instructions as it has members.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ccl_lgs_ros.rendering.compiled import intrinsic
from ccl_lgs_ros.rendering.lanes import LANES, VECTOR, WIDTH, fma_of, pointer_to, spread_of


def _members(builder: Any, bundle: Any, bundle_type: Any) -> list[Any]:
    return cgutils.unpack_tuple(builder, bundle, bundle_type.count)


def _offset(builder: Any, index: Any, k: int) -> Any:
    return builder.add(index, ir.Constant(index.type, k))


def _number(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.load(builder.gep(data, [index]))


def _load(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    loaded = builder.load(pointer_to(context, builder, array_type, array, index))
    loaded.align = 4
    return loaded


@intrinsic(prefer_literal=True)
def zeros(typing: Any, count: Any):
    """A bundle of as many vectors, all zero; `count` must be a constant."""
    kind = types.UniTuple(LANES, count.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_tuple(builder, kind, [ir.Constant(VECTOR, [0.0] * WIDTH)] * kind.count)

    return kind(count), generate


@intrinsic
def load_like(typing: Any, like: Any, array: Any, index: Any):
    """The vectors that lie one after the other in a flat array from an index on, as many as `like` has."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, array_type, _ = signature.args
        places = [_offset(builder, args[2], k * WIDTH) for k in range(like.count)]
        return context.make_tuple(builder, like, [_load(context, builder, array_type, args[1], at) for at in places])

    return like(like, array, types.intp), generate


@intrinsic
def spread_like(typing: Any, like: Any, array: Any, index: Any):
    """The numbers of a flat array from an index on, each in all lanes of a vector, as many as `like` has."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type, places = signature.args[1], [_offset(builder, args[2], k) for k in range(like.count)]
        numbers = [_number(context, builder, array_type, args[1], at) for at in places]
        return context.make_tuple(builder, like, [spread_of(builder, number) for number in numbers])

    return like(like, array, types.intp), generate


@intrinsic
def store_all(typing: Any, array: Any, index: Any, bundle: Any):
    """Put a bundle's vectors one after the other into a flat array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for k, member in enumerate(_members(builder, args[2], bundle)):
            place = pointer_to(context, builder, signature.args[0], args[0], _offset(builder, args[1], k * WIDTH))
            builder.store(member, place).align = 4
        return context.get_dummy_value()

    return types.none(array, types.intp, bundle), generate


@intrinsic
def add_spread(typing: Any, bundle: Any, weight: Any, array: Any, index: Any):
    """Each vector plus `weight` times its number of a flat array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        members, array_type = _members(builder, args[0], bundle), signature.args[2]
        results = []
        for k, member in enumerate(members):
            number = _number(context, builder, array_type, args[2], _offset(builder, args[3], k))
            results.append(fma_of(builder, args[1], spread_of(builder, number), member))
        return context.make_tuple(builder, bundle, results)

    return bundle(bundle, LANES, array, types.intp), generate


@intrinsic
def add_loaded(typing: Any, bundle: Any, weight: Any, array: Any, index: Any):
    """Each vector plus `weight` times its vector of a flat array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        members, array_type = _members(builder, args[0], bundle), signature.args[2]
        results = []
        for k, member in enumerate(members):
            loaded = _load(context, builder, array_type, args[2], _offset(builder, args[3], k * WIDTH))
            results.append(fma_of(builder, args[1], loaded, member))
        return context.make_tuple(builder, bundle, results)

    return bundle(bundle, LANES, array, types.intp), generate


@intrinsic
def inner_product(typing: Any, bundle: Any, array: Any, index: Any, start: Any):
    """`start` plus the bundle's vectors times those of a flat array from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        members, array_type = _members(builder, args[0], bundle), signature.args[1]
        sums = [args[3], ir.Constant(VECTOR, [0.0] * WIDTH)]  # two, as each waits for its last addition
        for k, member in enumerate(members):
            loaded = _load(context, builder, array_type, args[1], _offset(builder, args[2], k * WIDTH))
            sums[k % 2] = fma_of(builder, member, loaded, sums[k % 2])
        return builder.fadd(*sums)

    return LANES(bundle, array, types.intp, LANES), generate


def _shuffle(builder: Any, a: Any, b: Any, picks: tuple[int, ...]) -> Any:
    """The lanes of two vectors, counted one after the other, that `picks` names."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), list(picks)))


def _crossed(builder: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:
    """Four vectors as the columns of two 4x4 matrices, one of the lower and one of the upper halves, by rows."""
    (low_ab, high_ab), (low_cd, high_cd) = (
        [_shuffle(builder, x, y, picks) for picks in ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))]
        for x, y in ((a, b), (c, d))
    )
    return [
        _shuffle(builder, x, y, picks)
        for x, y in ((low_ab, low_cd), (high_ab, high_cd))
        for picks in ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
    ]


def _quad(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Where the four numbers of a flat array from an index on are."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(ir.FloatType(), 4).as_pointer())


@intrinsic
def store_pixels(typing: Any, array: Any, index: Any, stride: Any, bundle: Any):
    """Put four channels of 8 pixels into a flat array from an index on, pixel by pixel, one every `stride`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        crossed = _crossed(builder, *_members(builder, args[3], bundle))
        for half in (0, 4):
            for k, row in enumerate(crossed):
                at = builder.add(args[1], builder.mul(args[2], ir.Constant(args[2].type, half + k)))
                place = _quad(context, builder, signature.args[0], args[0], at)
                builder.store(_shuffle(builder, row, row, tuple(range(half, half + 4))), place).align = 4
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, bundle), generate


@intrinsic
def load_pixels(typing: Any, like: Any, array: Any, index: Any, stride: Any):
    """Four channels of the 8 pixels that lie in a flat array from an index on, one every `stride`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        quads = []
        for k in range(WIDTH):
            at = builder.add(args[2], builder.mul(args[3], ir.Constant(args[3].type, k)))
            quads.append(builder.load(_quad(context, builder, signature.args[1], args[1], at)))
            quads[-1].align = 4
        joined = [_shuffle(builder, quads[k], quads[k + 4], tuple(range(8))) for k in range(4)]
        return context.make_tuple(builder, like, _crossed(builder, *joined))

    return like(like, array, types.intp, types.intp), generate


def _fold(builder: Any, a: Any, b: Any) -> Any:
    """Sums of neighbouring lanes of two vectors: two of a, two of b, then the same of their upper halves."""
    even, odd = (_shuffle(builder, a, b, tuple(k + side for k in (0, 2, 8, 10, 4, 6, 12, 14))) for side in (0, 1))
    return builder.fadd(even, odd)


@intrinsic
def store_totals(typing: Any, array: Any, index: Any, bundle: Any):
    """Put the sum over the lanes of each vector, in a fixed order, into a flat array from an index on.

    The bundle has a multiple of four vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        members = _members(builder, args[2], bundle)
        for first in range(0, len(members), 4):
            a, b, c, d = members[first : first + 4]
            both = _fold(builder, _fold(builder, a, b), _fold(builder, c, d))
            halves = (_shuffle(builder, both, both, tuple(range(k, k + 4))) for k in (0, 4))
            place = _quad(context, builder, signature.args[0], args[0], _offset(builder, args[1], first))
            builder.store(builder.fadd(*halves), place).align = 4
        return context.get_dummy_value()

    return types.none(array, types.intp, bundle), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any):
    """The place of the lowest bit that is set; anything where none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(found, ir.IntType(64)) if found.type.width < 64 else found

    return types.intp(bits), generate


@intrinsic
def bits_at(typing: Any, array: Any, place: Any):
    """One bit of each of the first 32 numbers of an array of uint32, as the bits of one number."""
    count = 32
    ints, numbers = ir.IntType(32), ir.VectorType(ir.IntType(32), count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        loaded = builder.load(builder.bitcast(data, numbers.as_pointer()))
        loaded.align = 4
        up = builder.sub(ints(31), builder.trunc(args[1], ints))
        one = builder.insert_element(ir.Constant(numbers, ir.Undefined), up, ints(0))
        shift = builder.shuffle_vector(one, ir.Constant(numbers, ir.Undefined), ir.Constant(numbers, [0] * count))
        is_set = builder.icmp_signed("<", builder.shl(loaded, shift), ir.Constant(numbers, [0] * count))
        return builder.bitcast(is_set, ints)

    return types.uint32(array, types.intp), generate
