# SPDX-License-Identifier: Apache-2.0
"""Rendering weights summed per splat and label: blending with labels in the place of colours.

A tile has few labels, numbered from 0 on within it; each (tile, splat) has a row of one sum per label of its tile.
The row is as long as the tile has labels, so no weight is ever lost, whatever the label map looks like.
"""

import numpy as np

from ccl_lgs_ros.rendering.blending import start_tile, weigh
from ccl_lgs_ros.rendering.bundles import lowest_bit
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.heaviest import silence
from ccl_lgs_ros.rendering.lanes import WIDTH, broadcast, load, select, store, total
from ccl_lgs_ros.rendering.tiles import HEIGHT, PIXELS, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

BATCH = 64  # splats to a ticket
ALIKE = -1  # pixels of a row have one code, all of them
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
    counter,
    tiles,
    size,
    floors,
    tile_start,
    members,
    member_rows,
    splats,
    tables,
    codes,
    num_labels,
    sums_start,
    sums,
    found,
):
    """Write the sums of each (tile, splat) per label into rows of `sums`, and what there is of them into `found`.

    Args:
        tiles: first tile and the one after the last.
        size: width and height of the image.
        floors: [tiles, 256] weight under which a splat has no vote in a pixel; [0, 256] where all have.
        sums_start: [tiles + 1] where each tile's rows begin in `sums`.
        found: by place [I], the first two zero on entry: the sum over all pixels, how many sums are not zero, where
            they begin, and the tile.
    """
    width, height = size
    columns = (width + WIDTH - 1) // WIDTH
    clear, ended, weights = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    sums_of_code = np.zeros(PIXELS * WIDTH, np.float32)
    row_codes, row_counts = np.empty((HEIGHT, WIDTH), np.int64), np.empty(HEIGHT, np.int64)
    seen, hits, starts, tile_of = found
    tile = tiles[0] + take_ticket(counter)
    while tile < tiles[1]:
        left, top = tile % columns * WIDTH, tile // columns * HEIGHT
        live = start_tile(clear, left, top, width, height)
        list_row_codes(codes[tile], row_codes, row_counts)
        labels = (codes[tile], row_codes, row_counts, num_labels[tile])
        floor = floors[tile : tile + 1].reshape(-1)
        args = (members, member_rows, splats, tables, left, top, live, (clear, ended, weights), floor, labels)
        first, last = tile_start[tile], tile_start[tile + 1]
        for place in range(first, last):
            starts[place] = sums_start[tile] + (place - first) * num_labels[tile]
            tile_of[place] = tile
        vote_tile(first, last, *args, sums_of_code, sums[sums_start[tile] : sums_start[tile + 1]], seen, hits)
        tile = tiles[0] + take_ticket(counter)


@inner
def list_row_codes(codes, row_codes, row_counts):
    """Write which codes each row of a tile has, and how many; ALIKE where all its pixels have the same."""
    for r in range(HEIGHT):
        count, is_full = 0, True
        for x in range(WIDTH):
            code = int(codes[r * WIDTH + x])
            is_new = code >= 0
            is_full = is_full and is_new
            for k in range(count):
                if row_codes[r, k] == code:
                    is_new = False
            if is_new:
                row_codes[r, count] = code
                count += 1
        row_counts[r] = ALIKE if is_full and count == 1 else count


@inner
def vote_tile(
    first,
    last,
    members,
    member_rows,
    splats,
    tables,
    left,
    top,
    live,
    state,
    floor,
    labels,
    sums_of_code,
    sums,
    seen,
    hits,
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
        if len(floor):
            silence(rows, weights, floor)
        sum_all = zero
        while rows:
            r = lowest_bit(rows)
            rows &= rows - np.uint32(1)
            weight, row = load(weights, r * WIDTH), load(codes, r * WIDTH)
            sum_all = sum_all + weight
            if row_counts[r] == ALIKE:
                code = row_codes[r, 0]
                store(sums_of_code, code * WIDTH, load(sums_of_code, code * WIDTH) + weight)
            for k in range(row_counts[r]):
                code = row_codes[r, k]
                mine = select(row == np.float32(code), weight, zero)
                store(sums_of_code, code * WIDTH, load(sums_of_code, code * WIDTH) + mine)
        seen[place] = total(sum_all)
        at = (place - first) * num_labels
        hit = 0
        for code in range(num_labels):
            weight_of_code = total(load(sums_of_code, code * WIDTH))
            sums[at + code] = weight_of_code
            hit += weight_of_code > 0
            store(sums_of_code, code * WIDTH, zero)
        hits[place] = hit


@kernel
def sum_places(counter, place_start, place_stop, places, found, counts, visible):
    """Write for each splat [M] how many of its sums are not zero, and the sum over all pixels."""
    seen, hits = found[0], found[1]
    start = take_ticket(counter) * BATCH
    while start < counts.shape[0]:
        for j in range(start, min(start + BATCH, counts.shape[0])):
            counts[j], visible[j] = 0, 0.0
            for at in range(place_start[j], place_stop[j]):
                counts[j] += hits[places[at]]
                visible[j] += seen[places[at]]
        start = take_ticket(counter) * BATCH


@kernel
def write_entries(
    counter, place_start, place_stop, places, found, num_labels, sums, tile_labels, entry_start, labels, weights
):
    """Write each splat's (label, weight) pairs from entry_start [M] on, by label, each label once; the rest get -1."""
    hits, starts, tile_of = found[1], found[2], found[3]
    start = take_ticket(counter) * BATCH
    while start < entry_start.shape[0]:
        for j in range(start, min(start + BATCH, entry_start.shape[0])):
            first, end, stop = entry_start[j], entry_start[j], entry_start[j]
            for at in range(place_start[j], place_stop[j]):
                place = places[at]
                if hits[place] > 0:
                    stop += hits[place]
                    tile, row = tile_of[place], starts[place]
                    for code in range(num_labels[tile]):
                        if sums[row + code] > 0:
                            end = add_entry(labels, weights, first, end, tile_labels[tile, code], sums[row + code])
            labels[end:stop] = -1
            merge_entries(labels[first:end], weights[first:end])
        start = take_ticket(counter) * BATCH


@inner
def add_entry(labels, weights, first, end, label, weight):
    """Add a pair to those from `first` to `end`, into one of the last few if its label is there; returns the end."""
    for k in range(end - 1, max(first, end - FEW) - 1, -1):
        if labels[k] == label:
            weights[k] += weight
            return end
    labels[end], weights[end] = label, weight
    return end + 1


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
