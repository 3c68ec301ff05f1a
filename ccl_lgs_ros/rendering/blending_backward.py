# SPDX-License-Identifier: Apache-2.0
"""The gradient of alpha blending, splat by splat from back to front, a row of 8 pixels at a time.

Nothing is shared between threads: each (tile, splat) has a place of its own for its gradient, so that results
never depend on timing; `splat_gradients` then sums the places of each splat.
"""

import numpy as np

from ccl_lgs_ros.rendering.blending import AHEAD, FEW, MANY, constants_of, exponent, offset_of_row, polynomial
from ccl_lgs_ros.rendering.bundles import (
    add_loaded,
    inner_product,
    load_pixels,
    lowest_bit,
    spread_like,
    store_all,
    store_totals,
    zeros,
)
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import WIDTH, broadcast, exp2, fma, load, maximum, minimum, prefetch, select, store
from ccl_lgs_ros.rendering.limits import ALPHA_MAX
from ccl_lgs_ros.rendering.tiles import HEIGHT, PIXELS, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

MOMENTS = 8  # the gradient of -ln(alpha), summed over pixels, times 1, dx, dy, dx dx, dx dy, dy dy; and two zeros
# Where in a tile's scratch, after the gradient of alpha, are: transmittance and the blend behind; and by row of the
# splat at hand its alpha, its weights and what it shows.
CLEAR, BEHIND, ALPHA, WEIGHT, SHADE, SCRATCH = (PIXELS * k for k in range(1, 7))


def row_size(num_channels: int) -> int:
    """How long a place's gradient is, filled up to whole vectors."""
    return -(-(MOMENTS + num_channels) // WIDTH) * WIDTH


@kernel
def tile_gradients(
    counter, tile_start, members, member_rows, splats, channels, tables, size, images, upstream, states, wanted, places
):
    """Write the gradient of each place [I, row_size]: moments, then channels.

    Args:
        channels: [M * P].
        size: width and height of the image, C, P.
        images: depth [H W] and alpha [H W] as drawn.
        upstream: gradients of color [H W 3], depth, alpha and features [H W C].
        states: transmittance of each pixel and where it ended, from the forward.
        wanted: whether the moments, colour and depth, and the features' gradients are wanted; others stay as they are.
    """
    width, height, num_features, num_channels = size
    columns, num_tiles = (width + WIDTH - 1) // WIDTH, tile_start.shape[0] - 1
    buffer, scratch = np.empty(num_channels * PIXELS, np.float32), np.empty(SCRATCH, np.float32)
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        clear, ended = states[0][tile], states[1][tile]
        start, end = tile_start[tile], tile_start[tile + 1]
        stop = max(int(min(np.float32(end - start), ended.max())), 0) + start
        places[stop:end] = np.float32(0.0)
        buffer[:] = np.float32(0.0)
        start_rows(clear, scratch)
        for r in range(min(HEIGHT, height - top)):
            pixel, at = (top + r) * width + left, r * num_channels * WIDTH
            if left + WIDTH <= width:
                read_row(buffer, at, scratch, r * WIDTH, pixel, num_features, images, upstream)
            else:
                read_pixels(buffer, at, scratch, r * WIDTH, pixel, width - left, num_features, images, upstream)
        args = (splats, channels, tables, left, top, buffer, scratch, ended, wanted, places)
        unblend_tile(members, member_rows, start, stop, *args)
        tile = take_ticket(counter)


@inner
def start_rows(clear, scratch):
    """Begin behind the last splat: with the transmittance that the forward left, and nothing behind."""
    zero = broadcast(0.0)
    for at in range(0, PIXELS, WIDTH):
        left = load(clear, at)
        store(scratch, at, zero)
        store(scratch, CLEAR + at, maximum(left, zero - left))
        store(scratch, BEHIND + at, zero)


@inner
def read_row(buffer, at, scratch, first, pixel, num_features, images, upstream):
    """Put the upstream gradients from a pixel on into a row of a tile: of channels from `at` on in the buffer."""
    depth, alpha = images
    g_color, g_depth, g_alpha, g_features = upstream
    zero, cover = broadcast(0.0), load(alpha, pixel)
    # The drawn depth is a mean: its gradient goes to the sum and to the cover that it is divided by.
    g = select(cover > zero, load(g_depth, pixel) / cover, zero)
    store(buffer, at + 3 * WIDTH, g)
    store(scratch, first, select(cover > zero, load(g_alpha, pixel), zero) - g * load(depth, pixel))
    for x in range(WIDTH):
        for c in range(3):
            buffer[at + c * WIDTH + x] = g_color[(pixel + x) * 3 + c]
    whole = num_features // FEW * FEW
    for c in range(0, whole, FEW):
        some = load_pixels(zeros(FEW), g_features, pixel * num_features + c, num_features)
        store_all(buffer, at + (4 + c) * WIDTH, some)
    for c in range(whole, num_features):
        for x in range(WIDTH):
            buffer[at + (4 + c) * WIDTH + x] = g_features[(pixel + x) * num_features + c]


@inner
def read_pixels(buffer, at, scratch, first, pixel, count, num_features, images, upstream):
    """`read_row` for the first few pixels of a row that the image cuts."""
    depth, alpha = images
    g_color, g_depth, g_alpha, g_features = upstream
    for x in range(count):
        if alpha[pixel + x] > 0:
            g = g_depth[pixel + x] / alpha[pixel + x]
            buffer[at + 3 * WIDTH + x] = g
            scratch[first + x] = g_alpha[pixel + x] - g * depth[pixel + x]
        for c in range(3):
            buffer[at + c * WIDTH + x] = g_color[(pixel + x) * 3 + c]
        for c in range(num_features):
            buffer[at + (4 + c) * WIDTH + x] = g_features[(pixel + x) * num_features + c]


@inner
def unblend_tile(
    members, member_rows, start, stop, splats, channels, tables, left, top, buffer, scratch, ended, wanted, places
):
    """The gradients of one tile's list, its last splat first."""
    num_channels = buffer.shape[0] // PIXELS
    first_channel, last_channel = 0 if wanted[1] else 4, num_channels if wanted[2] else 4
    for place in range(stop - 1, start - 1, -1):
        j, rows, row = members[place], member_rows[place], places[place]
        splat = splat_at(splats, j)
        ahead = members[max(place - AHEAD, start)]
        prefetch(splats, ahead * 8)
        prefetch(channels, ahead * num_channels)
        unblend_alpha(splat, rows, np.float32(place - start), tables, left, top, ended, scratch)
        if wanted[0]:
            c = 0
            while c + MANY < num_channels:
                shade_rows(zeros(MANY), rows, c, num_channels, j * num_channels, channels, buffer, scratch)
                c += MANY
            while c + FEW < num_channels and c + MANY != num_channels:
                shade_rows(zeros(FEW), rows, c, num_channels, j * num_channels, channels, buffer, scratch)
                c += FEW
            args = (splat, rows, c, num_channels, j * num_channels, channels, tables, left, top, buffer, scratch, row)
            if c + MANY == num_channels:
                unblend_rows(zeros(MANY), *args)
            else:
                unblend_rows(zeros(FEW), *args)
        else:
            unblend_weights(rows, scratch)
        c = first_channel
        while c + MANY <= last_channel:
            sum_channels(zeros(MANY), rows, c, num_channels, buffer, scratch, row)
            c += MANY
        while c < last_channel:
            sum_channels(zeros(FEW), rows, c, num_channels, buffer, scratch, row)
            c += FEW


@inner
def unblend_alpha(splat, rows, number, tables, left, top, ended, scratch):
    """Write a splat's alpha, before it is held to its most, in its rows; 0 where it was not drawn."""
    terms, constants = polynomial(splat, tables, left), constants_of(tables)
    zero, mine = broadcast(0.0), broadcast(number)
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        power = exponent(terms, broadcast(offset_of_row(splat, top, r)))
        drawn = (power >= constants[7]) & (load(ended, r * WIDTH) > mine)
        store(scratch, ALPHA + r * WIDTH, select(drawn, exp2(power, constants), zero))


@inner
def shade_of(mine, r, first_channel, num_channels, buffer, scratch):
    """What a splat's channels, up to some of them, say about its alpha in a row; the gradient of alpha itself first."""
    before = load(scratch, r * WIDTH if first_channel == 0 else SHADE + r * WIDTH)
    return inner_product(mine, buffer, (r * num_channels + first_channel) * WIDTH, before)


@inner
def shade_rows(like, rows, first_channel, num_channels, at, channels, buffer, scratch):
    """Write `shade_of` in a splat's rows; for the channels that are not its last."""
    mine = spread_like(like, channels, at + first_channel)
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        store(scratch, SHADE + r * WIDTH, shade_of(mine, r, first_channel, num_channels, buffer, scratch))


@inner
def unblend_row(at, scratch):
    """Take a splat off a row, leaving its weights; returns alpha, 1 / (1 - alpha), the light before it, its weight."""
    alpha = minimum(load(scratch, ALPHA + at), broadcast(ALPHA_MAX))
    inverse = 1.0 / (1.0 - alpha)
    front = load(scratch, CLEAR + at) * inverse
    weight = alpha * front
    store(scratch, CLEAR + at, front)
    store(scratch, WEIGHT + at, weight)
    return alpha, inverse, front, weight


@inner
def unblend_weights(rows, scratch):
    """Take a splat off its rows; leaves its weights."""
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        unblend_row(r * WIDTH, scratch)


@inner
def unblend_rows(
    like, splat, rows, first_channel, num_channels, first, channels, tables, left, top, buffer, scratch, row
):
    """Take a splat off its rows; leaves its weights and writes the moments of the gradient of -ln(alpha)."""
    mine = spread_like(like, channels, first + first_channel)
    zero = broadcast(0.0)
    sum_1, sum_y, sum_yy = zero, zero, zero
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        at = r * WIDTH
        shade = shade_of(mine, r, first_channel, num_channels, buffer, scratch)
        alpha, inverse, front, weight = unblend_row(at, scratch)
        hidden = load(scratch, BEHIND + at)
        store(scratch, BEHIND + at, fma(weight, shade, hidden))
        slope = alpha * (hidden * inverse - front * shade)
        slope = select(load(scratch, ALPHA + at) > ALPHA_MAX, zero, slope)
        dy = broadcast(offset_of_row(splat, top, r))
        along = slope * dy
        sum_1 = sum_1 + slope
        sum_y = sum_y + along
        sum_yy = fma(along, dy, sum_yy)
    dx = load(tables, 0) + (np.float32(left) + np.float32(0.5) - splat[0])
    sum_x = sum_1 * dx
    store_totals(row, 0, (sum_1, sum_x, sum_y, sum_x * dx))
    store_totals(row, 4, (sum_y * dx, sum_yy, zero, zero))


@inner
def sum_channels(like, rows, first_channel, num_channels, buffer, scratch, row):
    """Write the gradients of some of a splat's channels: the upstream gradients weighted as the splat was drawn."""
    sums = like
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        at = (r * num_channels + first_channel) * WIDTH
        sums = add_loaded(sums, load(scratch, WEIGHT + r * WIDTH), buffer, at)
    store_totals(row, MOMENTS + first_channel, sums)
