# SPDX-License-Identifier: Apache-2.0
"""Which splats touch which tile, front to back: exact to the ellipse, so that kernels meet few pixels in vain."""

import math

import numpy as np

from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.limits import ALPHA_MIN, TILE
from ccl_lgs_ros.rendering.workers import take_ticket

MARGIN = 1e-3  # pixels by which ellipses are taken too large, against rounding
BATCH = 256  # splats to a ticket
LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)


@inner
def splat_at(splats, j):
    """One row of an array of splats, in registers."""
    first = (splats[j, 0], splats[j, 1], splats[j, 2], splats[j, 3])
    return (*first, splats[j, 4], splats[j, 5], splats[j, 6], splats[j, 7])


@inner
def rows_of(splat, height):
    """The first and last row of tiles with a pixel centre within the height of a splat; empty if first > last."""
    y, half = splat[1], splat[6] + MARGIN
    first = max(math.ceil(y - half - 0.5), 0)
    last = min(math.floor(y + half - 0.5), height - 1)
    if first > last:
        return 0, -1
    return int(first) // TILE, int(last) // TILE


@inner
def columns_of(splat, row, width):
    """The first and last tile that a splat touches in a row of tiles; empty if first > last."""
    x, y, xx, xy, yy = splat[0], splat[1], float(splat[2]), float(splat[3]), float(splat[4])
    level = LOG2_ALPHA_MIN - splat[5]  # where the polynomial of the splat is at least this, it is drawn
    determinant = 4.0 * xx * yy - xy * xy
    half_height = splat[6]
    lowest = max(row * TILE + 0.5 - y, -half_height)
    highest = min(row * TILE + TILE - 0.5 - y, half_height)
    # The ellipse is widest to the right at the offset y = turn, to the left at -turn.
    turn = xy * math.sqrt(max(level / (yy * determinant), 0.0)) * (1.0 if determinant > 0 else 0.0)
    right = x + _edge(xx, xy, yy, level, min(max(turn, lowest), highest), 1.0) + MARGIN
    left = x + _edge(xx, xy, yy, level, min(max(-turn, lowest), highest), -1.0) - MARGIN
    first = max(math.ceil(left - 0.5), 0)
    last = min(math.floor(right - 0.5), width - 1)
    if first > last:
        return 0, -1
    return int(first) // TILE, int(last) // TILE


@inner
def _edge(xx, xy, yy, level, dy, side):
    """The offset in x of an ellipse's edge at an offset in y."""
    root = math.sqrt(max(xy * xy * dy * dy - 4.0 * xx * (yy * dy * dy - level), 0.0))
    return (-xy * dy - side * root) / (2.0 * xx)


@kernel
def gather(counter, order, splats, shades, features, sorted_splats, channels, counts, width, height):
    """Write splats [M, 8], channels [M, P] and numbers of tiles [M] in the order of drawing.

    Channels are colour, depth, features, zeros.
    """
    m, c = order.shape[0], features.shape[1]
    start = take_ticket(counter) * BATCH
    while start < m:
        for j in range(start, min(start + BATCH, m)):
            i = order[j]
            for k in range(8):
                sorted_splats[j, k] = splats[i, k]
            for k in range(4):
                channels[j, k] = shades[i, k]
            for k in range(c):
                channels[j, 4 + k] = features[i, k]
            for k in range(4 + c, channels.shape[1]):
                channels[j, k] = 0.0
            splat = splat_at(splats, i)
            counts[j] = 0
            first_row, last_row = rows_of(splat, height)
            for row in range(first_row, last_row + 1):
                first, last = columns_of(splat, row, width)
                counts[j] += last - first + 1
        start = take_ticket(counter) * BATCH


@kernel
def bin_splats(splats, counts, width, height):
    """Lists of splats per tile, and of list places per splat.

    Returns:
        tile_start: [tiles + 1] where each tile's list begins.
        members: [I] the splats of the lists, front to back as the splats are.
        place_start: [M + 1] where each splat's places begin.
        places: [I] the places of each splat in `members`.
    """
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    place_start = np.zeros(counts.shape[0] + 1, np.int64)
    place_start[1:] = np.cumsum(counts)
    places = np.empty(place_start[-1], np.int32)
    tile_start = np.zeros(columns * rows + 1, np.int64)
    at = 0
    for j in range(splats.shape[0]):
        splat = splat_at(splats, j)
        first_row, last_row = rows_of(splat, height)
        for row in range(first_row, last_row + 1):
            first, last = columns_of(splat, row, width)
            for column in range(first, last + 1):
                places[at] = row * columns + column
                at += 1
                tile_start[row * columns + column + 1] += 1
    tile_start = np.cumsum(tile_start)
    members = np.empty(places.shape[0], np.int32)
    cursor = tile_start[:-1].copy()
    for j in range(splats.shape[0]):
        for at in range(place_start[j], place_start[j + 1]):
            tile = places[at]
            members[cursor[tile]] = j
            places[at] = cursor[tile]
            cursor[tile] += 1
    return tile_start, members, place_start, places


def drawing_order(visible, depths):
    """The indices [M] of visible splats, nearest first; equal depths keep their order."""
    indices = np.flatnonzero(visible)
    # The bits of positive floats sort like the floats, and with the index behind them every key is unique.
    keys = depths[indices].view(np.uint32).astype(np.uint64) << np.uint64(32) | indices.astype(np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
