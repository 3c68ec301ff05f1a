# SPDX-License-Identifier: Apache-2.0
"""The voting kernels joined to votes: one pass over the tiles, then one over the splats."""

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.rendering.blending import TABLES
from ccl_lgs_ros.rendering.drawing import Array, Splats, View, prepare
from ccl_lgs_ros.rendering.heaviest import find_floors
from ccl_lgs_ros.rendering.tiles import PIXELS
from ccl_lgs_ros.rendering.voting import number_labels, sum_places, vote_tiles, write_entries
from ccl_lgs_ros.rendering.workers import Crew
from ccl_lgs_ros.structures import Votes

MAX_SUMS = 1 << 24  # sums that one pass may hold (64 MiB); a wilder label map takes several passes

Entries = tuple[NDArray[np.int64], NDArray[np.int64], Array]  # Gaussian, label, weight


def tally(
    crew: Crew,
    parameters: tuple[Array, ...],
    view: View,
    labels: NDArray[np.int32],
    most: int = 0,
    max_sums: int = MAX_SUMS,
) -> Votes:
    """The rendering weights of one view per Gaussian and label [H, W], of the heaviest `most` of each pixel; 0 all."""
    *shape, sh = parameters
    n = len(sh)
    splats = prepare(crew, (*shape, sh[:, :0]), np.empty((n, 0), np.float32), view)
    num_tiles = len(splats.tile_start) - 1
    codes = np.empty((num_tiles, PIXELS), np.float32)
    tile_labels, num_labels = np.empty((num_tiles, PIXELS), np.int32), np.empty(num_tiles, np.int64)
    crew.run(number_labels, labels, codes, tile_labels, num_labels)
    floors = _floors(crew, splats, view, most)
    seen, visible = np.zeros(len(splats.members), np.float32), np.zeros(len(splats.order))
    passes = [
        _entries(crew, splats, view, floors, tiles, codes, tile_labels, num_labels, seen, visible, n)
        for tiles in _passes(splats, num_labels, max_sums)
    ]
    visibility = np.zeros(n, np.float32)
    visibility[splats.order] = visible
    gaussian, label, weight = passes[0] if len(passes) == 1 else _merged(passes)
    return Votes(
        gaussian=torch.from_numpy(gaussian),
        label=torch.from_numpy(label),
        weight=torch.from_numpy(weight),
        visibility=torch.from_numpy(visibility),
    )


def _floors(crew: Crew, splats: Splats, view: View, most: int) -> Array:
    """The weight under which a splat has no vote in a pixel, by tile [tiles, 256]; [0, 256] where all have."""
    floors = np.empty((len(splats.tile_start) - 1 if most else 0, PIXELS), np.float32)
    lists = (splats.tile_start, splats.members, splats.rows, splats.splats, TABLES)
    if most:
        crew.run(find_floors, (view.width, view.height), most, *lists, floors)
    return floors


def _passes(splats: Splats, num_labels: NDArray[np.int64], max_sums: int) -> list[tuple[int, int]]:
    """Ranges of tiles that together need no more than max_sums sums, or are a single tile."""
    sizes = np.diff(splats.tile_start) * num_labels
    ranges, first, total = [], 0, 0
    for tile, size in enumerate(sizes.tolist()):
        if total and total + size > max_sums:
            ranges.append((first, tile))
            first, total = tile, 0
        total += size
    return [*ranges, (first, len(sizes))]


def _entries(
    crew: Crew,
    splats: Splats,
    view: View,
    floors: Array,
    tiles: tuple[int, int],
    codes: Array,
    tile_labels: NDArray[np.int32],
    num_labels: NDArray[np.int64],
    seen: Array,
    visible: NDArray[np.float64],
    num_gaussians: int,
) -> Entries:
    """The votes of a range of tiles, by Gaussian, then label; `visible` [M] sums what was `seen` in all up to now."""
    first, last = tiles
    lengths = np.diff(splats.tile_start)
    sizes = lengths * num_labels
    sizes[:first] = 0
    sums_start = np.concatenate([[0], np.cumsum(sizes)])
    sums_start[last + 1 :] = sums_start[last]
    sums = np.empty(sums_start[last], np.float32)
    size = len(splats.members)
    found = (seen, np.zeros(size, np.int16), np.empty(size, np.int64), np.empty(size, np.int32))
    lists = (splats.tile_start, splats.members, splats.rows, splats.splats, TABLES)
    crew.run(vote_tiles, tiles, (view.width, view.height), floors, *lists, codes, num_labels, sums_start, sums, found)
    places = (splats.place_start, splats.place_stop, splats.places, found)
    counts = np.empty(len(splats.order), np.int64)
    crew.run(sum_places, *places, counts, visible)
    counts_of_gaussian = np.zeros(num_gaussians, np.int64)
    counts_of_gaussian[splats.order] = counts
    starts = np.cumsum(counts_of_gaussian) - counts_of_gaussian
    size = int(counts.sum())
    labels, weights = np.empty(size, np.int64), np.empty(size, np.float32)
    crew.run(write_entries, *places, num_labels, sums, tile_labels, starts[splats.order], labels, weights)
    gaussian = np.repeat(np.arange(num_gaussians), counts_of_gaussian)
    kept = labels >= 0
    return gaussian[kept], labels[kept], weights[kept]


def _merged(passes: list[Entries]) -> Entries:
    """The votes of several ranges of tiles as one, by Gaussian, then label, each pair once."""
    gaussian, label, weight = (np.concatenate(column) for column in zip(*passes, strict=True))
    order = np.lexsort((label, gaussian))
    gaussian, label, weight = gaussian[order], label[order], weight[order]
    is_new = np.ones(len(gaussian), bool)
    is_new[1:] = (np.diff(gaussian) != 0) | (np.diff(label) != 0)
    if not len(gaussian):
        return gaussian, label, weight
    return gaussian[is_new], label[is_new], np.add.reduceat(weight, np.flatnonzero(is_new))
