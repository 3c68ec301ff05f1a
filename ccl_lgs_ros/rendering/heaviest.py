# SPDX-License-Identifier: Apache-2.0
"""The heaviest splats of each pixel: the weight under which a splat is none of them, found in a pass of its own.

That weight is the root of a heap of a bounded length, whatever the number of splats.
"""

import numpy as np

from ccl_lgs_ros.rendering.blending import start_tile, weigh
from ccl_lgs_ros.rendering.bundles import lowest_bit
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import WIDTH, broadcast, load, select, store
from ccl_lgs_ros.rendering.tiles import HEIGHT, PIXELS, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket


@kernel
def find_floors(counter, size, most, tile_start, members, member_rows, splats, tables, floors):
    """Write the weight of the lightest of the heaviest splats of each pixel, by tile [tiles, 256].

    Args:
        size: width and height of the image.
        most: splats of a pixel that are its heaviest; where there are fewer, the floor is 0.
    """
    width, height = size
    columns, num_tiles = (width + WIDTH - 1) // WIDTH, floors.shape[0]
    clear, ended, weights = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    heaviest = np.empty((PIXELS, most), np.float32)
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        live = start_tile(clear, left, top, width, height)
        heaviest[:] = np.float32(0.0)
        for place in range(tile_start[tile], tile_start[tile + 1]):
            if not live:
                break
            rows = member_rows[place] & live
            splat = splat_at(splats, members[place])
            live &= ~weigh(splat, rows, np.float32(0.0), tables, left, top, clear, ended, weights, 0, WIDTH)
            hold_heaviest(rows, weights, heaviest)
        floors[tile] = heaviest[:, 0]
        tile = take_ticket(counter)


@inner
def hold_heaviest(rows, weights, heaviest):
    """Let the weights of some rows into the heaps of their pixels."""
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        for pixel in range(r * WIDTH, (r + 1) * WIDTH):
            if weights[pixel] > heaviest[pixel, 0]:
                replace_lightest(heaviest[pixel], weights[pixel])


@inner
def replace_lightest(heap, weight):
    """Put a weight in the place of the lightest, which is the first of a heap."""
    at, below, count = 0, 1, heap.shape[0]
    while below < count:
        if below + 1 < count and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= weight:
            break
        heap[at] = heap[below]
        at, below = below, 2 * below + 1
    heap[at] = weight


@inner
def silence(rows, weights, floor):
    """Make those weights of some rows nothing that are under the floor of their pixel."""
    zero = broadcast(0.0)
    while rows:
        r = lowest_bit(rows)
        rows &= rows - np.uint32(1)
        weight = load(weights, r * WIDTH)
        store(weights, r * WIDTH, select(weight >= load(floor, r * WIDTH), weight, zero))
