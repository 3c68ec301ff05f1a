# SPDX-License-Identifier: Apache-2.0
"""The gradient of alpha blending, splat by splat from back to front, a row of 16 pixels at a time.

Nothing is shared between threads: each (tile, splat) has a place of its own for its gradient, so that results
never depend on timing; `splat_gradients` then sums the places of each splat.
"""

import numpy as np

from ccl_lgs_ros.rendering.blending import LOG2_ALPHA_MIN, PIXELS, exponent, lane_offsets, rows_within
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import any_lane, broadcast, exp2, fma, load, minimum, select, store, total
from ccl_lgs_ros.rendering.limits import ALPHA_MAX, TILE
from ccl_lgs_ros.rendering.tiles import splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

MOMENTS = 6  # the gradient of -ln(alpha), summed over pixels, times 1, dx, dy, dx dx, dx dy, dy dy
# Where in a tile's scratch, after the gradient of alpha, are: transmittance, the blend behind, the splat's weights.
CLEAR, BEHIND, WEIGHTS = PIXELS, 2 * PIXELS, 3 * PIXELS


@kernel
def tile_gradients(counter, tile_start, members, splats, channels, steps, images, upstream, states, wanted, places):
    """Write the gradient of each place [I, 6 + P]: moments, then channels.

    Args:
        images: depth [H, W] and alpha [H, W] as drawn.
        upstream: gradients of color [H, W, 3], depth, alpha and features [H, W, C].
        states: transmittance and last splat of each pixel, from the forward.
        wanted: whether the moments, colour and depth, and the features' gradients are wanted; others stay as they are.
    """
    width = images[0].shape[1]
    columns, num_tiles = (width + TILE - 1) // TILE, tile_start.shape[0] - 1
    buffer = np.empty(channels.shape[1] * PIXELS, np.float32)
    scratch = np.empty(4 * PIXELS, np.float32)
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * TILE, tile // columns * TILE
        start, stop = tile_start[tile], tile_start[tile + 1]
        stop = min(stop, start + 1 + int(states[1][tile].max()))
        for place in range(stop, tile_start[tile + 1]):
            places[place] = np.float32(0.0)
        read_tile(buffer, scratch, left, top, images, upstream)
        scratch[CLEAR:BEHIND] = np.abs(states[0][tile])
        scratch[BEHIND:WEIGHTS] = np.float32(0.0)
        args = (splats, channels, steps, left, top, buffer, scratch, states[1][tile], wanted, places)
        unblend_tile(members, start, stop, *args)
        tile = take_ticket(counter)


@inner
def read_tile(buffer, scratch, left, top, images, upstream):
    """Put the upstream gradients of a tile into buffers, zero outside the image."""
    depth, alpha = images
    g_color, g_depth, g_alpha, g_features = upstream
    height, width = depth.shape
    num_channels = buffer.shape[0] // PIXELS
    buffer[:] = np.float32(0.0)
    scratch[:CLEAR] = np.float32(0.0)
    for y in range(top, min(top + TILE, height)):
        for x in range(left, min(left + TILE, width)):
            p = (y - top) * TILE + x - left
            at = (y - top) * num_channels * TILE + x - left
            if alpha[y, x] > 0:
                # The drawn depth is a mean: its gradient goes to the sum and to the cover that it is divided by.
                g = g_depth[y, x] / alpha[y, x]
                buffer[at + 3 * TILE] = g
                scratch[p] = g_alpha[y, x] - g * depth[y, x]
            for c in range(3):
                buffer[at + c * TILE] = g_color[y, x, c]
            for c in range(g_features.shape[2]):
                buffer[at + (4 + c) * TILE] = g_features[y, x, c]


@inner
def unblend_tile(members, start, stop, splats, channels, steps, left, top, buffer, scratch, reached, wanted, places):
    """The gradients of one tile's list, its last splat first."""
    lanes_x = lane_offsets(steps, left)
    first_channel = 0 if wanted[1] else 4
    last_channel = channels.shape[1] if wanted[2] else 4
    for place in range(stop - 1, start - 1, -1):
        j = members[place]
        splat = splat_at(splats, j)
        number = broadcast(np.float32(place - start))
        dx = lanes_x - splat[0]
        low, high = rows_within(splat, np.float32(top))
        zero = broadcast(0.0)
        sum_1, sum_y, sum_yy = zero, zero, zero
        for r in range(low, high + 1):
            dy = np.float32(top + r) + np.float32(0.5) - splat[1]
            slope = unblend_row(splat, dx, dy, r, j, number, channels, buffer, scratch, reached, wanted[0])
            sum_1 = sum_1 + slope
            sum_y = fma(slope, broadcast(dy), sum_y)
            sum_yy = fma(slope, broadcast(dy * dy), sum_yy)
        if wanted[0]:
            along = sum_1 * dx
            places[place, 0] = total(sum_1)
            places[place, 1] = total(along)
            places[place, 2] = total(sum_y)
            places[place, 3] = total(along * dx)
            places[place, 4] = total(sum_y * dx)
            places[place, 5] = total(sum_yy)
        sum_channels(place, low, high, first_channel, last_channel, channels.shape[1], buffer, scratch, places)


@inner
def unblend_row(splat, dx, dy, r, j, number, channels, buffer, scratch, reached, is_shape_wanted):
    """Take a splat off one row of a tile; return the gradient of -ln(alpha) [16], and leave the weight in scratch."""
    at, num_channels = r * TILE, channels.shape[1]
    zero = broadcast(0.0)
    power = exponent(splat, dx, dy)
    drawn = (power >= LOG2_ALPHA_MIN) & (load(reached, at) >= number)
    if not any_lane(drawn):
        store(scratch, WEIGHTS + at, zero)
        return zero
    alpha = exp2(power)
    is_clamped = alpha > ALPHA_MAX
    alpha = select(drawn, minimum(alpha, broadcast(ALPHA_MAX)), zero)
    inverse = 1.0 / (1.0 - alpha)
    front = load(scratch, CLEAR + at) * inverse
    store(scratch, CLEAR + at, front)
    weight = alpha * front
    store(scratch, WEIGHTS + at, weight)
    if not is_shape_wanted:
        return zero
    shade = load(scratch, at)
    for c in range(num_channels):
        shade = fma(broadcast(channels[j, c]), load(buffer, (r * num_channels + c) * TILE), shade)
    hidden = load(scratch, BEHIND + at)
    store(scratch, BEHIND + at, fma(weight, shade, hidden))
    return select(is_clamped, zero, alpha * (hidden * inverse - front * shade))


@inner
def sum_channels(place, low, high, first, last, num_channels, buffer, scratch, places):
    """Write the gradients of a splat's channels: the upstream gradients weighted as the splat was drawn."""
    zero = broadcast(0.0)
    for c in range(first, last, 4):
        a, b, d, e = zero, zero, zero, zero
        for r in range(low, high + 1):
            at = (r * num_channels + c) * TILE
            weight = load(scratch, WEIGHTS + r * TILE)
            a = fma(weight, load(buffer, at), a)
            b = fma(weight, load(buffer, at + TILE), b)
            d = fma(weight, load(buffer, at + 2 * TILE), d)
            e = fma(weight, load(buffer, at + 3 * TILE), e)
        places[place, MOMENTS + c] = total(a)
        places[place, MOMENTS + c + 1] = total(b)
        places[place, MOMENTS + c + 2] = total(d)
        places[place, MOMENTS + c + 3] = total(e)
