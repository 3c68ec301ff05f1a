# SPDX-License-Identifier: Apache-2.0
"""Alpha blending of a tile's splats in two tables, a batch of splats at a time.

First, splat by splat, the weights with which each is drawn in the rows that it touches; then, row by row, the sums of
channels under these weights, which stay in registers until the row is done.

Each pixel holds its transmittance; a negative sign says that the pixel is finished. A tile's buffers are flat: row by
row, and within a row channel by channel or splat by splat, 8 pixels each.
"""

import math

import numpy as np

from ccl_lgs_ros.rendering.bundles import (
    add_spread,
    bits_at,
    load_like,
    lowest_bit,
    spread_like,
    store_all,
    store_pixels,
    zeros,
)
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import (
    EXP2_TERMS,
    WIDTH,
    any_lane,
    broadcast,
    exp2,
    fma,
    load,
    maximum,
    minimum,
    prefetch,
    select,
    store,
)
from ccl_lgs_ros.rendering.limits import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from ccl_lgs_ros.rendering.tiles import HEIGHT, PIXELS, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)
AHEAD = 4  # places before which a splat is fetched from memory
NEVER = 3e38  # the place in a list where a pixel that never finishes does
BATCH = 32  # splats whose weights are held at once
CONSTANTS = (*EXP2_TERMS, LOG2_ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN)
NUM_CONSTANTS = len(CONSTANTS)
TABLES = np.array([*range(WIDTH), *CONSTANTS], np.float32)  # what `tables` are, everywhere
MANY, FEW = 12, 4  # channels that registers hold at once: as many as there are registers for, or one group


@inner
def polynomial(splat, tables, left):
    """A splat's log2 alpha in a tile at column `left`, as vectors: of dy^0, dy^1 and dy^2, and its most."""
    dx = load(tables, 0) + (np.float32(left) + np.float32(0.5) - splat[0])
    most = broadcast(splat[5])
    return fma(dx * dx, broadcast(splat[2]), most), dx * splat[3], broadcast(splat[4]), most


@inner
def constants_of(tables):
    """What the loops over rows use in all lanes: EXP2_TERMS and limits, from memory, so that they stay in registers."""
    return spread_like(zeros(NUM_CONSTANTS), tables, WIDTH)


@inner
def exponent(terms, dy):
    """The base-2 logarithm of alpha in a row at the offset dy [8]."""
    constant, slope, curve, most = terms
    return minimum(fma(dy, fma(dy, curve, slope), constant), most)


@inner
def offset_of_row(splat, top, r):
    """The offset in y from a splat's centre of row r of a tile at image row `top`."""
    return np.float32(top + r) + np.float32(0.5) - splat[1]


@inner
def start_tile(clear, left, top, width, height):
    """All pixels of a tile clear, those outside the image finished; returns the bits of the rows inside."""
    for r in range(HEIGHT):
        for x in range(WIDTH):
            inside = left + x < width and top + r < height
            clear[r * WIDTH + x] = np.float32(1.0) if inside else np.float32(-1.0)
    return np.uint32((np.uint64(1) << np.uint64(min(height - top, HEIGHT))) - np.uint64(1))


@inner
def weigh(splat, rows, number, tables, left, top, clear, ended, weights, at, stride):
    """Let a splat cover its rows of a tile; returns the bits of those in which no pixel is left to be seen.

    Its weights go to `weights` from `at` on, a row every `stride`; `ended` gets its number in the list where it
    ends a pixel.
    """
    terms, constants = polynomial(splat, tables, left), constants_of(tables)
    faintest, opaquest, darkest = constants[7], constants[8], constants[9]
    zero, finished = broadcast(0.0), np.uint32(0)
    while rows:
        r = lowest_bit(rows)
        power = exponent(terms, broadcast(offset_of_row(splat, top, r)))
        before = load(clear, r * WIDTH)
        drawn = (power >= faintest) & (before > zero)
        weight = select(drawn, minimum(exp2(power, constants), opaquest), zero) * before
        behind = before - weight
        ends = drawn & (behind <= darkest)
        if any_lane(ends):
            behind = select(ends, zero - before, behind)
            weight = select(ends, zero, weight)
            store(ended, r * WIDTH, select(ends, broadcast(number), load(ended, r * WIDTH)))
            if not any_lane(behind > zero):
                finished |= np.uint32(1) << np.uint32(r)
        store(clear, r * WIDTH, behind)
        store(weights, at + r * stride, weight)
        rows &= rows - np.uint32(1)
    return finished


@inner
def blend_batch(like, first_channel, num_channels, masks, weights, channels, at, buffer):
    """Add to some channels of each row the batch's channels under its weights; as many channels as `like` has."""
    for r in range(HEIGHT):
        users = bits_at(masks, r)
        if users:
            place = (r * num_channels + first_channel) * WIDTH
            sums = load_like(like, buffer, place)
            while users:
                k = lowest_bit(users)
                users &= users - np.uint32(1)
                sums = add_spread(sums, load(weights, (r * BATCH + k) * WIDTH), channels, at[k] + first_channel)
            store_all(buffer, place, sums)


@inner
def blend_tile(first, last, members, member_rows, splats, channels, tables, left, top, live, state, scratch):
    """Draw the list of one tile; `live` are the bits of its rows."""
    clear, ended, buffer = state
    weights, masks, at = scratch
    num_channels = buffer.shape[0] // PIXELS
    for start in range(first, last, BATCH):
        masks[:] = 0
        for k in range(min(BATCH, last - start)):
            j = members[start + k]
            at[k], masks[k] = j * num_channels, member_rows[start + k] & live
            member_rows[start + k] = masks[k]
            prefetch(splats, members[min(start + k + AHEAD, last - 1)] * 8)
            prefetch(channels, at[k])
            number = np.float32(start + k - first)
            args = (tables, left, top, clear, ended, weights, k * WIDTH, BATCH * WIDTH)
            live &= ~weigh(splat_at(splats, j), masks[k], number, *args)
        c = 0
        while c + MANY <= num_channels:
            blend_batch(zeros(MANY), c, num_channels, masks, weights, channels, at, buffer)
            c += MANY
        while c < num_channels:
            blend_batch(zeros(FEW), c, num_channels, masks, weights, channels, at, buffer)
            c += FEW
        if not live:
            break


@kernel
def draw_tiles(counter, tile_start, members, member_rows, splats, channels, tables, size, images, states):
    """Draw color [H W 3], depth [H W], alpha [H W] and features [H W C], all flat.

    For the backward it leaves, by tile [tiles, 256], the transmittance of each pixel and which splat of the list
    ended it; and in `member_rows` only the rows that were not finished when a splat came.

    Args:
        channels: [M * P].
        size: width and height of the image, C, P.
    """
    width, height, num_features, num_channels = size
    columns, num_tiles = (width + WIDTH - 1) // WIDTH, tile_start.shape[0] - 1
    buffer = np.empty(num_channels * PIXELS, np.float32)
    scratch = np.empty(BATCH * PIXELS, np.float32), np.empty(BATCH, np.uint32), np.empty(BATCH, np.int64)
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        clear, ended = states[0][tile], states[1][tile]
        buffer[:] = np.float32(0.0)
        ended[:] = np.float32(NEVER)
        live = start_tile(clear, left, top, width, height)
        args = (members, member_rows, splats, channels, tables, left, top, live, (clear, ended, buffer), scratch)
        blend_tile(tile_start[tile], tile_start[tile + 1], *args)
        for r in range(min(HEIGHT, height - top)):
            pixel, at = (top + r) * width + left, r * num_channels * WIDTH
            if left + WIDTH <= width:
                write_row(buffer, at, clear, r * WIDTH, pixel, num_features, *images)
            else:
                write_pixels(buffer, at, clear, r * WIDTH, pixel, width - left, num_features, *images)
        tile = take_ticket(counter)


@inner
def write_row(buffer, at, clear, first, pixel, num_features, color, depth, alpha, features):
    """Put a row of a tile, from `at` on in its buffer, into the images from a pixel on."""
    zero, transmittance = broadcast(0.0), load(clear, first)
    cover = broadcast(1.0) - maximum(transmittance, zero - transmittance)
    store(alpha, pixel, cover)
    store(depth, pixel, select(cover > zero, load(buffer, at + 3 * WIDTH) / cover, zero))
    for x in range(WIDTH):
        for c in range(3):
            color[(pixel + x) * 3 + c] = buffer[at + c * WIDTH + x]
    whole = num_features // FEW * FEW
    for c in range(0, whole, FEW):
        some = load_like(zeros(FEW), buffer, at + (4 + c) * WIDTH)
        store_pixels(features, pixel * num_features + c, num_features, some)
    for c in range(whole, num_features):
        for x in range(WIDTH):
            features[(pixel + x) * num_features + c] = buffer[at + (4 + c) * WIDTH + x]


@inner
def write_pixels(buffer, at, clear, first, pixel, count, num_features, color, depth, alpha, features):
    """`write_row` for the first few pixels of a row that the image cuts."""
    for x in range(count):
        cover = np.float32(1.0) - abs(clear[first + x])
        alpha[pixel + x] = cover
        depth[pixel + x] = buffer[at + 3 * WIDTH + x] / cover if cover > 0 else np.float32(0.0)
        for c in range(3):
            color[(pixel + x) * 3 + c] = buffer[at + c * WIDTH + x]
        for c in range(num_features):
            features[(pixel + x) * num_features + c] = buffer[at + (4 + c) * WIDTH + x]
