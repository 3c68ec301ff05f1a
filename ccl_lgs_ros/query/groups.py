# SPDX-License-Identifier: Apache-2.0
"""Which matched points are one thing: by track, by touch, and by the shape of what touches.

The rule, in order:

1. Points of one track that are near each other are one piece; so is a piece of a track within GAP of its main piece
   (depth has holes, and things are half hidden).
2. Pieces of two tracks that touch and look alike are one thing when their extents interlock (half of the smaller lies
   inside the other's box), or when they are faces that meet at an angle along most of the smaller one's side (the front
   and the side of a box). A narrow strip along the other (a rim, a lid) or a mere speck on it need look less alike.
3. A small piece near a large one of the same look is part of it, though nothing is seen in between (a handle, a leg).
4. All else is several things: what does not touch, and equal things side by side that all views kept apart.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from ccl_lgs_ros.query.boxes import share_inside, upright_box

CELLS_PER_DISTANCE = 2  # points are joined by cells of this fraction of the connect distance
CELLS_OUT = (
    2**15
)  # cells from the middle to the end of the grid, so that a key fits 64 bits; strays beyond lie at the end
ALIKE_COSINE = 0.8  # language of touching pieces of one thing: light and view change less than that
HANGING_COSINE = 0.6  # language of a strip or a speck and what it hangs on: an edge catches other light
GAP = 0.15  # metres that a track's piece may lie from its main piece: what is hidden or not measured in between
INTERLOCKED = 0.5  # share of the smaller piece inside the other's box
CLINGS, STRIP = 0.5, 1.0 / 3.0  # share of a strip's cells that touch the other piece; its size, as a share of that
SATELLITE, SATELLITE_GAP = 0.25, 0.05  # size of a small piece, as a share of the large one, and metres to it
SAME_COSINE = 0.95  # language of what is part of one thing without touching it
SPECK = 0.1  # size of a speck, as a share of what it lies on
FACE_ANGLE = np.radians(30.0)  # between the normals of two faces of one thing
FACE_CONTACT = 0.5  # share of the smaller face's side along which two faces meet
FLATNESS = 0.15  # thickness of a face, as a share of its lesser width


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
    pairs = KDTree(cells).query_pairs(distance, output_type="ndarray")
    is_same = track_of_cell[pairs[:, 0]] == track_of_cell[pairs[:, 1]]
    piece_of_cell = _components(len(cells), pairs[is_same])
    piece_of_cell = _gathered(cells, track_of_cell, piece_of_cell, max(GAP, distance))
    touching, is_alike = _touching(pairs[~is_same], piece_of_cell, look[track_of_cell])
    joined = _joined(cells, piece_of_cell, touching, is_alike, distance, up)
    near = _satellites(cells, piece_of_cell, look[track_of_cell], max(SATELLITE_GAP, distance))
    thing_of_piece = _components(int(piece_of_cell.max()) + 1, np.concatenate([joined, near]))
    return thing_of_piece[piece_of_cell][cell_of_point], piece_of_cell[cell_of_point]


def _cells(
    points: NDArray[np.float32], track: NDArray[np.int64], size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The cell [n] of each point, and the mean point [c, 3] and the track [c] of each cell; no cell has two tracks."""
    middle = np.median(points, axis=0)
    grid = np.clip(np.floor((points - middle) / size), -CELLS_OUT, CELLS_OUT - 1).astype(np.int64) + CELLS_OUT
    key = ((track * 2 * CELLS_OUT + grid[:, 0]) * 2 * CELLS_OUT + grid[:, 1]) * 2 * CELLS_OUT + grid[:, 2]
    _, first, cell, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(cell, weights=points[:, axis]) for axis in range(3)], axis=1) / count[:, None]
    return cell, mean, track[first]


def _components(count: int, pairs: NDArray[np.integer]) -> NDArray[np.int64]:
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _gathered(
    cells: NDArray[np.float64], track: NDArray[np.int64], piece: NDArray[np.int64], reach: float
) -> NDArray[np.int64]:
    """Pieces [c] after those within reach of their track's largest piece became part of it."""
    size = np.bincount(piece)
    order = np.lexsort((piece, -size[piece], track))
    first = np.unique(track[order], return_index=True)[1]
    main = dict(zip(track[order][first].tolist(), piece[order][first].tolist(), strict=True))
    main_of_cell = np.vectorize(main.__getitem__, otypes=[np.int64])(track)
    is_main = piece == main_of_cell
    if is_main.all():
        return piece
    # A fourth axis keeps tracks farther apart than any reach.
    lifted = np.column_stack([cells, track * (2.0 * reach + 1.0)])
    gap, _ = KDTree(lifted[is_main]).query(lifted[~is_main], distance_upper_bound=reach)
    near = np.flatnonzero(~is_main)[np.isfinite(gap)]
    joins = np.arange(len(size))
    joins[piece[near]] = main_of_cell[near]
    return np.unique(joins[piece], return_inverse=True)[1].astype(np.int64)


def _touching(
    pairs: NDArray[np.integer], piece: NDArray[np.int64], look: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Touching pieces that look somewhat alike, as rows (small, large, cells of the small one that touch), and which
    of them look alike [p].
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    own, other = piece[both[:, 0]], piece[both[:, 1]]
    size = np.bincount(piece)
    is_small = (size[own] < size[other]) | ((size[own] == size[other]) & (own < other))
    contacts = np.unique(np.stack([own, other, both[:, 0]], axis=1)[is_small], axis=0)
    rows, count = np.unique(contacts[:, :2], axis=0, return_counts=True)
    of_piece = look[np.unique(piece, return_index=True)[1]]  # a piece is of one track
    cosine = (of_piece[rows[:, 0]] * of_piece[rows[:, 1]]).sum(axis=1)
    touching = np.column_stack([rows, count]).astype(np.int64)
    is_near = cosine >= HANGING_COSINE
    return touching[is_near], cosine[is_near] >= ALIKE_COSINE


def _joined(
    cells: NDArray[np.float64],
    piece: NDArray[np.int64],
    touching: NDArray[np.int64],
    is_alike: NDArray[np.bool_],
    distance: float,
    up: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The touching pairs of pieces [p, 2] that are one thing."""
    size = np.bincount(piece)
    ratio, contact_share = size[touching[:, 0]] / size[touching[:, 1]], touching[:, 2] / size[touching[:, 0]]
    hangs_on = (ratio <= SPECK) | ((ratio <= STRIP) & (contact_share >= CLINGS))
    compared = ~hangs_on & is_alike
    shapes = {p: cells[piece == p] for p in np.unique(touching[compared, :2]).tolist()}
    boxes = {p: upright_box(points, up) for p, points in shapes.items()}
    planes = {p: _plane(points) for p, points in shapes.items()}
    is_one = hangs_on.copy()
    for i in np.flatnonzero(compared):
        small, large, contact = touching[i].tolist()
        interlock = max(
            share_inside(boxes[large], shapes[small], distance / 2.0),
            share_inside(boxes[small], shapes[large], distance / 2.0),
        )
        # Cells within `distance` of the seam touch: as many rows of them as a distance has cells.
        seam = contact / CELLS_PER_DISTANCE / np.sqrt(size[small])
        is_one[i] = interlock >= INTERLOCKED or (
            seam >= FACE_CONTACT and _meet_at_an_angle(planes[small], planes[large])
        )
    return touching[is_one, :2]


def _satellites(
    cells: NDArray[np.float64], piece: NDArray[np.int64], look: NDArray[np.floating], reach: float
) -> NDArray[np.int64]:
    """Small pieces and the large ones beside them that they are part of, as pairs [p, 2]."""
    size = np.bincount(piece)
    is_small = (size <= SATELLITE * size.max())[piece]
    small, large = np.flatnonzero(is_small), np.flatnonzero(~is_small)
    if len(small) == 0:
        return np.zeros((0, 2), np.int64)
    gap, nearest = KDTree(cells[large]).query(cells[small], distance_upper_bound=reach)
    is_near = np.isfinite(gap)
    small, other = small[is_near], large[np.asarray(nearest)[is_near]]
    is_part = (look[small] * look[other]).sum(axis=1) >= SAME_COSINE
    is_part &= size[piece[small]] <= SATELLITE * size[piece[other]]
    return np.stack([piece[small], piece[other]], axis=1)[is_part]


def _plane(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The unit normal of points [n, 3] that lie in a plane; None for what is not flat."""
    if len(points) < 4:
        return None
    centred = points - points.mean(axis=0)
    spread, directions = np.linalg.eigh(centred.T @ centred / len(points))
    is_flat = spread[0] <= FLATNESS**2 * spread[1]
    return directions[:, 0] if is_flat else None


def _meet_at_an_angle(normal: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    return normal is not None and other is not None and float(abs(normal @ other)) < np.cos(FACE_ANGLE)
