# SPDX-License-Identifier: Apache-2.0
"""Which splats touch which tile, front to back: exact to the ellipse and the row, so that few pixels are met in vain.

A tile is a column of 32 rows of 8 pixels: a row is one vector, the rows that a splat touches are the bits of a number.
Lists are made by counting: splats, in the order of drawing, are dealt with in blocks; each block counts its splats per
tile, the counts say where in each tile's list a block begins, and blocks then write without minding one another.
"""

import math

import numpy as np

from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import WIDTH, prefetch
from ccl_lgs_ros.rendering.limits import ALPHA_MIN
from ccl_lgs_ros.rendering.workers import take_ticket

HEIGHT = 32  # rows of a tile
PIXELS = WIDTH * HEIGHT
MARGIN = 1e-3  # pixels by which ellipses are taken too large, against rounding
NUM_BLOCKS = 16
AHEAD = 8  # splats before which one is fetched from memory
LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)


@inner
def splat_at(splats, j):
    """One row of an array of splats, in registers."""
    first = (splats[j, 0], splats[j, 1], splats[j, 2], splats[j, 3])
    return (*first, splats[j, 4], splats[j, 5], splats[j, 6], splats[j, 7])


@inner
def span(center, half, size):
    """The first and last pixel, of `size`, with its centre within `half` of a point; empty if first > last."""
    # Held to the image before they become whole numbers, as those have no room for what is far away.
    first = math.ceil(max(center - half - MARGIN - 0.5, 0.0))
    last = math.floor(min(center + half + MARGIN - 0.5, size - 1.0))
    return (int(first), int(last)) if first <= last else (0, -1)


@inner
def most_places(splat, width, height):
    """How many tiles a splat may touch at most."""
    left, right = span(splat[0], splat[6], width)
    top, bottom = span(splat[1], splat[7], height)
    if left > right or top > bottom:
        return 0
    return (right // WIDTH - left // WIDTH + 1) * (bottom // HEIGHT - top // HEIGHT + 1)


@inner
def rows_of(splat, column, height):
    """The first and last row that a splat touches in a column of tiles; empty if first > last."""
    x, y, xx, xy, yy = splat[0], splat[1], float(splat[2]), float(splat[3]), float(splat[4])
    level = LOG2_ALPHA_MIN - splat[5]  # where the polynomial of the splat is at least this, it is drawn
    determinant = 4.0 * xx * yy - xy * xy
    half_width = splat[6]
    leftmost = max(column * WIDTH + 0.5 - x, -half_width)
    rightmost = min(column * WIDTH + WIDTH - 0.5 - x, half_width)
    # The ellipse is lowest in the image at the offset x = turn, highest at -turn.
    turn = xy * math.sqrt(max(level / (xx * determinant), 0.0)) if determinant > 0 else 0.0
    bottom = y + _edge(xx, xy, yy, level, min(max(turn, leftmost), rightmost), 1.0) + MARGIN
    top = y + _edge(xx, xy, yy, level, min(max(-turn, leftmost), rightmost), -1.0) - MARGIN
    first, last = span(y, splat[7], height)
    first, last = math.ceil(max(top - 0.5, float(first))), math.floor(min(bottom - 0.5, float(last)))
    return (int(first), int(last)) if first <= last else (0, -1)


@inner
def _edge(xx, xy, yy, level, dx, side):
    """The offset in y of an ellipse's edge at an offset in x."""
    root = math.sqrt(max(xy * xy * dx * dx - 4.0 * yy * (xx * dx * dx - level), 0.0))
    return (-xy * dx - side * root) / (2.0 * yy)


@inner
def bits_between(first, last):
    """The number whose bits from first to last are set, of the 32 from 0 on."""
    ones = np.uint64(0xFFFFFFFF)
    low, high = np.uint64(max(first, 0)), np.uint64(31 - min(last, 31))
    return np.uint32(((ones << low) & ones) & (ones >> high))


@kernel
def gather(counter, order, found, features, place_start, out, size):
    """Put splats in the order of drawing and list the tiles of each.

    Args:
        order: [M] Gaussians, nearest first.
        found: splats [N, 8] and shades [N, 4] by Gaussian.
        place_start: [M] where each splat's list may begin.
        out: sorted splats [M, 8]; channels [M, P]: colour, depth, features, zeros; where each list ends [M];
            tiles and rows of the lists [I]; number of places per block and tile, zero on entry.
        size: width and height of the image.
    """
    splats, shades = found
    sorted_splats, channels, place_stop, tiles, rows, block_counts = out
    width, height = size
    columns = (width + WIDTH - 1) // WIDTH
    m, c = order.shape[0], features.shape[1]
    block = take_ticket(counter)
    while block < NUM_BLOCKS:
        for j in range(m * block // NUM_BLOCKS, m * (block + 1) // NUM_BLOCKS):
            i, at = order[j], place_start[j]
            ahead = order[min(j + AHEAD, m - 1)]
            prefetch(splats, ahead * 8)
            prefetch(shades, ahead * 4)
            prefetch(features, ahead * c)
            for k in range(8):
                sorted_splats[j, k] = splats[i, k]
            for k in range(4):
                channels[j, k] = shades[i, k]
            for k in range(c):
                channels[j, 4 + k] = features[i, k]
            for k in range(4 + c, channels.shape[1]):
                channels[j, k] = 0.0
            splat = splat_at(splats, i)
            left, right = span(splat[0], splat[6], width)
            for column in range(left // WIDTH, right // WIDTH + 1):
                top, bottom = rows_of(splat, column, height)
                for row in range(top // HEIGHT, bottom // HEIGHT + 1):
                    tiles[at] = row * columns + column
                    rows[at] = bits_between(top - row * HEIGHT, bottom - row * HEIGHT)
                    block_counts[block, tiles[at]] += 1
                    at += 1
            place_stop[j] = at
        block = take_ticket(counter)


@kernel
def start_lists(block_counts, tile_start):
    """Turn numbers per block and tile into where each block begins in each tile's list; write where lists begin."""
    total = 0
    for tile in range(tile_start.shape[0] - 1):
        tile_start[tile] = total
        for block in range(block_counts.shape[0]):
            count = block_counts[block, tile]
            block_counts[block, tile] = total
            total += count
    tile_start[-1] = total


@kernel
def fill_lists(counter, place_start, place_stop, cursors, places, rows, members, member_rows):
    """Write the list of each tile: splats, and their rows; `places` [I] turns from tiles into places in the lists."""
    m = place_start.shape[0]
    block = take_ticket(counter)
    while block < NUM_BLOCKS:
        for j in range(m * block // NUM_BLOCKS, m * (block + 1) // NUM_BLOCKS):
            for at in range(place_start[j], place_stop[j]):
                tile = places[at]
                place = cursors[block, tile]
                members[place], member_rows[place], places[at] = j, rows[at], place
                cursors[block, tile] = place + 1
        block = take_ticket(counter)


def drawing_order(visible, depths):
    """The indices [M] of visible splats, nearest first; equal depths keep their order."""
    indices = np.flatnonzero(visible)
    # The bits of positive floats sort like the floats, and with the index behind them every key is unique.
    keys = depths[indices].view(np.uint32).astype(np.uint64) << np.uint64(32) | indices.astype(np.uint64)
    keys.sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
