# SPDX-License-Identifier: Apache-2.0
"""Which matched points are one thing: by track, by touch, and by the shape of what touches.

The rule, in order:

1. Points of one track that are near each other are one piece; so is a piece of a track within GAP of its main piece
   (depth has holes, and things are half hidden).
2. Pieces of two tracks that touch and look alike are one thing when their extents interlock (half of the smaller lies
   inside the other's box), or when they are faces that meet at an angle along most of the smaller one's side (the front
   and the side of a box). A narrow strip along the other (a rim, a lid) or a mere speck on it need look less alike.
3. A small piece near a large one of the same look is part of it, though nothing is seen in between (a handle, a leg).
4. What stands right beneath a thing of the same look, and what is its other side, is part of it (wholes.py).
5. All else is several things: what does not touch, and equal things side by side that all views kept apart.

Equal things side by side that no view kept apart are told from one by their shape, later (twins.py).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from ccl_lgs_ros.query.boxes import quantiles
from ccl_lgs_ros.query.pieces import Pieces
from ccl_lgs_ros.query.wholes import parts_of_wholes

CELLS_PER_DISTANCE = 2  # points are joined by cells of this fraction of the connect distance
CELLS_OUT = (
    2**15
)  # cells from the middle to the end of the grid, so that a key fits 64 bits; strays beyond lie at the end
ALIKE_COSINE = 0.8  # language of touching pieces of one thing: light and view change less than that
HANGING_COSINE = 0.6  # language of a strip or a speck and what it hangs on: an edge catches other light
GAP = 0.15  # metres that a track's piece may lie from its main piece: what is hidden or not measured in between
CLINGS, STRIP = 0.5, 1.0 / 3.0  # share of a strip's cells that touch the other piece; its size, as a share of that
SATELLITE, SATELLITE_GAP = 0.25, 0.05  # size of a small piece, as a share of the large one, and metres to it
SAME_COSINE = 0.95  # language of what is part of one thing without touching it
SPECK = 0.1  # size of a speck, as a share of what it lies on
FACE_CONTACT = 0.5  # share of the smaller face's side along which two faces meet


def group_points(
    points: NDArray[np.float32],  # [n, 3] metres
    track: NDArray[np.int64],  # [n]
    look: NDArray[np.floating],  # [T, D] unit rows: the language of the tracks that `track` numbers
    distance: float,
    up: NDArray[np.float64],  # [3]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The thing [n] and the piece [n] that each point belongs to, both numbered from 0 without gaps.

    Points are touching when about `distance` metres or less apart.
    """
    if len(points) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cell_of_point, cells, track_of_cell = _cells(points, track, distance / CELLS_PER_DISTANCE)
    pairs = _tree(cells).query_pairs(distance, output_type="ndarray")
    is_same = track_of_cell[pairs[:, 0]] == track_of_cell[pairs[:, 1]]
    piece_of_cell = _components(len(cells), pairs.compress(is_same, axis=0))
    piece_of_cell = _gathered(cells, track_of_cell, piece_of_cell, max(GAP, distance))
    pieces = Pieces(cells, piece_of_cell, up)
    track_of_piece = _of_piece(track_of_cell, piece_of_cell)
    touching, is_alike = _touching(pairs.compress(~is_same, axis=0), piece_of_cell, track_of_piece, look)
    joined = _joined(pieces, touching, is_alike, distance)
    near = _satellites(cells, piece_of_cell, track_of_piece, look, max(SATELLITE_GAP, distance))
    thing_of_piece = _components(len(pieces.size), np.concatenate([joined, near]))
    thing_of_piece = _with_parts(cells, piece_of_cell, thing_of_piece, look[track_of_piece], up, distance)
    return thing_of_piece[piece_of_cell][cell_of_point], piece_of_cell[cell_of_point]


def _with_parts(
    cells: NDArray[np.float64],
    piece: NDArray[np.int64],
    thing_of_piece: NDArray[np.int64],
    look: NDArray[np.floating],  # [p, D] of each piece
    up: NDArray[np.float64],
    distance: float,
) -> NDArray[np.int64]:
    """The thing [p] of each piece after things became one that belong together."""
    count = int(thing_of_piece.max()) + 1
    if count == 1:
        return thing_of_piece
    largest = np.empty(count, dtype=np.int64)  # the piece whose look is the thing's
    by_size = np.argsort(np.bincount(piece), kind="stable")
    largest[thing_of_piece[by_size]] = by_size
    pairs = parts_of_wholes(cells, thing_of_piece[piece], look[largest], up, distance)
    return _components(count, pairs)[thing_of_piece] if len(pairs) else thing_of_piece


def _cells(
    points: NDArray[np.float32], track: NDArray[np.int64], size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The cell [n] of each point, and the mean point [c, 3] and the track [c] of each cell; no cell has two tracks."""
    middle = quantiles(points.T, 0.5)[0].astype(np.float32)
    grid = np.clip(np.floor((points - middle) / size), -CELLS_OUT, CELLS_OUT - 1).astype(np.int64) + CELLS_OUT
    key = ((track * 2 * CELLS_OUT + grid[:, 0]) * 2 * CELLS_OUT + grid[:, 1]) * 2 * CELLS_OUT + grid[:, 2]
    order = np.argsort(key)
    is_first = np.diff(key[order], prepend=-1) != 0
    cell = np.empty(len(points), dtype=np.int64)
    cell[order] = np.cumsum(is_first) - 1
    sums = np.stack([np.bincount(cell, weights=points[:, axis]) for axis in range(3)], axis=1)
    return cell, sums / np.bincount(cell)[:, None], track[order[is_first]]


def _tree(points: NDArray[np.floating]) -> KDTree:
    """A tree to look up neighbours in; what a balanced one would save is less than it costs to make."""
    return KDTree(points, balanced_tree=False, compact_nodes=False)


def _components(count: int, pairs: NDArray[np.integer]) -> NDArray[np.int64]:
    first, second = pairs.T.astype(np.int32)  # what scipy would make of them, and of the ones, at every turn
    links = csr_array((np.ones(len(pairs)), (first, second)), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _of_piece(track_of_cell: NDArray[np.int64], piece: NDArray[np.int64]) -> NDArray[np.int64]:
    """The track [p] of each piece: that of any of its cells."""
    track = np.empty(int(piece.max()) + 1, dtype=np.int64)
    track[piece] = track_of_cell
    return track


def _gathered(
    cells: NDArray[np.float64], track: NDArray[np.int64], piece: NDArray[np.int64], reach: float
) -> NDArray[np.int64]:
    """Pieces [c] after those within reach of their track's largest piece became part of it."""
    size, track_of_piece = np.bincount(piece), _of_piece(track, piece)
    order = np.lexsort((-size, track_of_piece))
    first = np.diff(track_of_piece[order], prepend=-1) != 0
    main = np.empty(int(track.max()) + 1, dtype=np.int64)
    main[track_of_piece[order][first]] = order[first]
    is_main = piece == main[track]
    if is_main.all():
        return piece
    is_torn = np.bincount(track[~is_main], minlength=len(main))[track] > 0  # only there is anything to find
    # A fourth axis keeps tracks farther apart than any reach.
    lifted = np.column_stack([cells, track * (2.0 * reach + 1.0)])
    gap, _ = _tree(lifted[is_main & is_torn]).query(lifted[~is_main], distance_upper_bound=reach)
    near = np.flatnonzero(~is_main)[np.isfinite(gap)]
    joins = np.arange(len(size))
    joins[piece[near]] = main[track[near]]
    return np.unique(joins, return_inverse=True)[1].astype(np.int64)[piece]


def _touching(
    pairs: NDArray[np.integer],  # of cells of two tracks
    piece: NDArray[np.int64],
    track_of_piece: NDArray[np.int64],
    look: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Touching pieces that look somewhat alike, as rows (small, large, cells of the small one that touch), and which
    of them look alike [p].
    """
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    own, other, size = piece[both[:, 0]], piece[both[:, 1]], np.bincount(piece)
    is_small = (size[own] < size[other]) | ((size[own] == size[other]) & (own < other))
    # Each contact once; a cell tells which piece it is of.
    key = np.unique((other * len(piece) + both[:, 0])[is_small])
    large, cell = np.divmod(key, len(piece))
    rows, count = np.unique(piece[cell] * len(size) + large, return_counts=True)
    touching = np.column_stack([*np.divmod(rows, len(size)), count])
    cosine = _cosine(look, track_of_piece[touching[:, 0]], track_of_piece[touching[:, 1]])
    is_near = cosine >= HANGING_COSINE
    return touching[is_near], cosine[is_near] >= ALIKE_COSINE


def _cosine(look: NDArray[np.floating], track: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.floating]:
    """The cosine [p] of the language of tracks [p] and others [p], computed once for equal pairs."""
    key, which = np.unique(track * len(look) + other, return_inverse=True)
    first, second = np.divmod(key, len(look))
    return (look[first] * look[second]).sum(axis=1)[which]


def _joined(
    pieces: Pieces, touching: NDArray[np.int64], is_alike: NDArray[np.bool_], distance: float
) -> NDArray[np.int64]:
    """The touching pairs of pieces [p, 2] that are one thing."""
    size = pieces.size
    ratio, contact_share = size[touching[:, 0]] / size[touching[:, 1]], touching[:, 2] / size[touching[:, 0]]
    hangs_on = (ratio <= SPECK) | ((ratio <= STRIP) & (contact_share >= CLINGS))
    is_one = hangs_on.copy()
    for i in np.flatnonzero(~hangs_on & is_alike):
        small, large, contact = touching[i].tolist()
        # Cells within `distance` of the seam touch: as many rows of them as a distance has cells.
        seam = contact / CELLS_PER_DISTANCE / np.sqrt(size[small])
        is_one[i] = (seam >= FACE_CONTACT and pieces.meet_at_an_angle(small, large)) or (
            pieces.interlock(small, large, distance / 2.0)
        )
    return touching[is_one, :2]


def _satellites(
    cells: NDArray[np.float64],
    piece: NDArray[np.int64],
    track_of_piece: NDArray[np.int64],
    look: NDArray[np.floating],
    reach: float,
) -> NDArray[np.int64]:
    """Small pieces and the large ones beside them that they are part of, as pairs [p, 2]."""
    size = np.bincount(piece)
    is_small = (size <= SATELLITE * size.max())[piece]
    small, large = np.flatnonzero(is_small), np.flatnonzero(~is_small)
    if len(small) == 0:
        return np.zeros((0, 2), np.int64)
    gap, nearest = _tree(cells[large]).query(cells[small], distance_upper_bound=reach)
    is_near = np.isfinite(gap)
    small, other = piece[small[is_near]], piece[large[np.asarray(nearest)[is_near]]]
    is_part = size[small] <= SATELLITE * size[other]
    small, other = small[is_part], other[is_part]
    is_alike = _cosine(look, track_of_piece[small], track_of_piece[other]) >= SAME_COSINE
    return np.stack([small, other], axis=1)[is_alike]
