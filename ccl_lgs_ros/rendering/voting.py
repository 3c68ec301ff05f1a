# SPDX-License-Identifier: Apache-2.0
"""Rendering weights summed per splat and label: blending with labels in the place of colours.

A tile has few labels, numbered from 0 on within it; each (tile, splat) has a row of one sum per label of its tile.
The row is as long as the tile has labels, so no weight is ever lost, whatever the label map looks like.
"""

import numpy as np

from ccl_lgs_ros.rendering.blending import start_tile, weigh
from ccl_lgs_ros.rendering.bundles import lowest_bit
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import WIDTH, broadcast, load, select, store, total
from ccl_lgs_ros.rendering.tiles import HEIGHT, PIXELS, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

BATCH = 64  # splats to a ticket
FEW = 24  # entries that are sorted fastest in the plainest way


@kernel
def number_labels(counter, labels, codes, tile_labels, num_labels):
    """Number the labels of each tile: codes [tiles, 256] by pixel (-1 none), labels by code, and how many."""
    height, width = labels.shape
    columns, num_tiles = (width + WIDTH - 1) // WIDTH, codes.shape[0]
    tile = take_ticket(counter)
    while tile < num_tiles:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        codes[tile] = np.float32(-1.0)
        count, code = 0, 0
        for y in range(top, min(top + HEIGHT, height)):
            for x in range(left, min(left + WIDTH, width)):
                label = labels[y, x]
                if label < 0:
                    continue
                if code >= count or tile_labels[tile, code] != label:
                    code = 0
                    while code < count and tile_labels[tile, code] != label:
                        code += 1
                    if code == count:
                        tile_labels[tile, code] = label
                        count += 1
                codes[tile, (y - top) * WIDTH + x - left] = np.float32(code)
        num_labels[tile] = count
        tile = take_ticket(counter)


@kernel
def vote_tiles(
    counter, tiles, size, tile_start, members, member_rows, splats, tables, codes, num_labels, sums_start, sums, seen
):
    """Write the sums of each (tile, splat): per label into rows of `sums`, over all pixels into `seen` [I].

    Args:
        tiles: first tile and the one after the last.
        size: width and height of the image.
        sums_start: [tiles + 1] where each tile's rows begin in `sums`, which is zero on entry, as `seen` is.
    """
    width, height = size
    columns = (width + WIDTH - 1) // WIDTH
    clear, ended, weights = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    sums_of_code = np.zeros(PIXELS * WIDTH, np.float32)
    row_codes, row_counts = np.empty((HEIGHT, WIDTH), np.int64), np.empty(HEIGHT, np.int64)
    tile = tiles[0] + take_ticket(counter)
    while tile < tiles[1]:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        live = start_tile(clear, left, top, width, height)
        list_row_codes(codes[tile], row_codes, row_counts)
        labels = (codes[tile], row_codes, row_counts, num_labels[tile])
        args = (members, member_rows, splats, tables, left, top, live, (clear, ended, weights), labels)
        mine = sums[sums_start[tile] : sums_start[tile + 1]]
        vote_tile(tile_start[tile], tile_start[tile + 1], *args, sums_of_code, mine, seen)
        tile = tiles[0] + take_ticket(counter)


@inner
def list_row_codes(codes, row_codes, row_counts):
    """Write which codes each row of a tile has."""
    for r in range(HEIGHT):
        count = 0
        for x in range(WIDTH):
            code = int(codes[r * WIDTH + x])
            is_new = code >= 0
            for k in range(count):
                if row_codes[r, k] == code:
                    is_new = False
            if is_new:
                row_codes[r, count] = code
                count += 1
        row_counts[r] = count


@inner
def vote_tile(
    first, last, members, member_rows, splats, tables, left, top, live, state, labels, sums_of_code, sums, seen
):
    """Draw the list of one tile, summing weights; `sums_of_code` is a zeroed buffer of a vector per code."""
    clear, ended, weights = state
    codes, row_codes, row_counts, num_labels = labels
    zero = broadcast(0.0)
    for place in range(first, last):
        if not live:
            break
        rows = member_rows[place] & live
        splat = splat_at(splats, members[place])
        live &= ~weigh(splat, rows, np.float32(0.0), tables, left, top, clear, ended, weights, 0, WIDTH)
        sum_all = zero
        while rows:
            r = lowest_bit(rows)
            rows &= rows - np.uint32(1)
            weight, row = load(weights, r * WIDTH), load(codes, r * WIDTH)
            sum_all = sum_all + weight
            for k in range(row_counts[r]):
                code = row_codes[r, k]
                mine = select(row == np.float32(code), weight, zero)
                store(sums_of_code, code * WIDTH, load(sums_of_code, code * WIDTH) + mine)
        seen[place] = total(sum_all)
        at = (place - first) * num_labels
        for code in range(num_labels):
            sums[at + code] = total(load(sums_of_code, code * WIDTH))
            store(sums_of_code, code * WIDTH, zero)


@kernel
def count_entries(counter, place_start, place_stop, places, tile_of_place, num_labels, rows_start, sums, counts):
    """Write for each splat [M] how many of its sums are not zero; `rows_start` [I] is -1 outside this pass."""
    start = take_ticket(counter) * BATCH
    while start < counts.shape[0]:
        for j in range(start, min(start + BATCH, counts.shape[0])):
            counts[j] = 0
            for at in range(place_start[j], place_stop[j]):
                place = places[at]
                if rows_start[place] >= 0:
                    for code in range(num_labels[tile_of_place[place]]):
                        counts[j] += sums[rows_start[place] + code] > 0
        start = take_ticket(counter) * BATCH


@kernel
def write_entries(
    counter,
    place_start,
    place_stop,
    places,
    tile_of_place,
    num_labels,
    rows_start,
    sums,
    tile_labels,
    entry_start,
    labels,
    weights,
):
    """Write each splat's (label, weight) pairs from entry_start [M] on, by label, each label once; the rest get -1."""
    start = take_ticket(counter) * BATCH
    while start < entry_start.shape[0]:
        for j in range(start, min(start + BATCH, entry_start.shape[0])):
            end = entry_start[j]
            for at in range(place_start[j], place_stop[j]):
                place = places[at]
                if rows_start[place] >= 0:
                    tile = tile_of_place[place]
                    for code in range(num_labels[tile]):
                        weight = sums[rows_start[place] + code]
                        if weight > 0:
                            labels[end], weights[end] = tile_labels[tile, code], weight
                            end += 1
            merge_entries(labels[entry_start[j] : end], weights[entry_start[j] : end])
        start = take_ticket(counter) * BATCH


@inner
def merge_entries(labels, weights):
    """Sort pairs by label and join equal labels in place; freed places at the end get label -1."""
    if labels.shape[0] > FEW:
        order = np.argsort(labels, kind="mergesort")
        labels[:], weights[:] = labels[order], weights[order]
    for k in range(1, labels.shape[0]):
        label, weight, at = labels[k], weights[k], k
        while at > 0 and labels[at - 1] > label:
            labels[at], weights[at] = labels[at - 1], weights[at - 1]
            at -= 1
        labels[at], weights[at] = label, weight
    last = 0
    for k in range(1, labels.shape[0]):
        if labels[k] == labels[last]:
            weights[last] += weights[k]
        else:
            last += 1
            labels[last], weights[last] = labels[k], weights[k]
    labels[last + 1 :] = -1
