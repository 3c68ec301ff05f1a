# SPDX-License-Identifier: Apache-2.0
"""Alpha blending of a tile's splats, forward and backward: splat by splat, a row of 16 pixels at a time.

Each pixel holds its transmittance; a negative sign says that the pixel is finished. A tile's buffer is flat: row by
row, channel by channel, 16 pixels each.
"""

import math

import numpy as np

from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import any_lane, broadcast, exp2, fma, load, maximum, minimum, select, store
from ccl_lgs_ros.rendering.limits import ALPHA_MAX, ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from ccl_lgs_ros.rendering.tiles import splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

PIXELS = TILE * TILE
LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)
ROW_MARGIN = 1e-3  # pixels by which a splat is taken too high, against rounding


@inner
def lane_offsets(steps, left):
    """The x [16] of the pixel centres of a tile that begins at column `left`."""
    return load(steps, 0) + (np.float32(left) + np.float32(0.5))


@inner
def rows_within(splat, top):
    """The first and last row of a tile at image row `top` that a splat may touch; empty if first > last."""
    y, half = splat[1], splat[6] + np.float32(ROW_MARGIN)
    first = max(math.ceil(y - half - np.float32(0.5) - top), 0)
    last = min(math.floor(y + half - np.float32(0.5) - top), TILE - 1)
    return int(first), int(last)


@inner
def exponent(splat, dx, dy):
    """The base-2 logarithm of alpha at the offsets dx [16], dy."""
    slope = broadcast(splat[3] * dy)
    level = broadcast(fma_scalar(splat[4] * dy, dy, splat[5]))
    return minimum(fma(dx, fma(dx, broadcast(splat[2]), slope), level), broadcast(splat[5]))


@inner
def fma_scalar(a, b, c):
    """a * b + c in float32."""
    return np.float32(a * b + c)


@inner
def start_tile(transmittance, left, top, width, height):
    """All pixels of a tile clear; those outside the image finished."""
    for r in range(TILE):
        for x in range(TILE):
            inside = left + x < width and top + r < height
            transmittance[r * TILE + x] = np.float32(1.0) if inside else np.float32(-1.0)


@inner
def is_finished(transmittance):
    """Whether nothing behind can be seen anywhere in a tile."""
    clearest = load(transmittance, 0)
    for r in range(1, TILE):
        clearest = maximum(clearest, load(transmittance, r * TILE))
    return not any_lane(clearest > 0.0)


@inner
def draw_row(splat, dx, dy, at, transmittance):
    """Let a splat cover one row of a tile; return its weight [16] there and where it was drawn."""
    power = exponent(splat, dx, dy)
    clear = load(transmittance, at)
    live = (power >= LOG2_ALPHA_MIN) & (clear > 0.0)
    zero = broadcast(0.0)
    weight = select(live, minimum(exp2(power), broadcast(ALPHA_MAX)), zero) * clear
    behind = clear - weight
    ends = live & (behind <= TRANSMITTANCE_MIN)
    store(transmittance, at, select(ends, zero - clear, behind))
    drawn = live & ~ends
    return select(drawn, weight, zero), drawn


@inner
def blend_tile(members, first, last, splats, channels, steps, left, top, transmittance, reached, blend):
    """Draw the list of one tile; `reached` gets the place in the list of the last splat of each pixel."""
    num_channels = channels.shape[1]
    lanes_x = lane_offsets(steps, left)
    for place in range(first, last):
        if (place - first) % 16 == 15 and is_finished(transmittance):
            break
        j = members[place]
        splat = splat_at(splats, j)
        number = broadcast(np.float32(place - first))
        dx = lanes_x - splat[0]
        low, high = rows_within(splat, np.float32(top))
        for r in range(low, high + 1):
            dy = np.float32(top + r) + np.float32(0.5) - splat[1]
            weight, drawn = draw_row(splat, dx, dy, r * TILE, transmittance)
            mine = select(drawn, number, broadcast(-1.0))
            store(reached, r * TILE, maximum(load(reached, r * TILE), mine))
            for c in range(num_channels):
                at = (r * num_channels + c) * TILE
                store(blend, at, fma(weight, broadcast(channels[j, c]), load(blend, at)))


@kernel
def draw_tiles(counter, tile_start, members, splats, channels, steps, images, states):
    """Draw color [H, W, 3], depth [H, W], alpha [H, W] and features [H, W, C].

    For the backward it leaves the transmittance and the last splat of each pixel, by tile [tiles, 256].
    """
    transmittance, reached = states
    height, width = images[1].shape
    columns, num_tiles = (width + TILE - 1) // TILE, tile_start.shape[0] - 1
    buffer = np.empty(channels.shape[1] * PIXELS, np.float32)
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * TILE, tile // columns * TILE
        buffer[:] = np.float32(0.0)
        reached[tile] = np.float32(-1.0)
        start_tile(transmittance[tile], left, top, width, height)
        state = (transmittance[tile], reached[tile], buffer)
        blend_tile(members, tile_start[tile], tile_start[tile + 1], splats, channels, steps, left, top, *state)
        write_tile(buffer, transmittance[tile], left, top, *images)
        tile = take_ticket(counter)


@inner
def write_tile(buffer, transmittance, left, top, color, depth, alpha, features):
    """Put a tile's buffer into the images."""
    height, width = depth.shape
    num_channels = buffer.shape[0] // PIXELS
    for y in range(top, min(top + TILE, height)):
        for x in range(left, min(left + TILE, width)):
            cover = np.float32(1.0) - abs(transmittance[(y - top) * TILE + x - left])
            at = (y - top) * num_channels * TILE + x - left
            alpha[y, x] = cover
            depth[y, x] = buffer[at + 3 * TILE] / cover if cover > 0 else np.float32(0.0)
            for c in range(3):
                color[y, x, c] = buffer[at + c * TILE]
            for c in range(features.shape[2]):
                features[y, x, c] = buffer[at + (4 + c) * TILE]
