# SPDX-License-Identifier: Apache-2.0
"""What a query answers, written out step by step from the rules of groups.py and instances.py: the reference that the
fast path is held to. Nothing is indexed, encoded or kept; every piece is looked at for itself. What twins.py, wholes.py
and strays.py say of a thing's shape is taken from there.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.query import groups as rules
from ccl_lgs_ros.query.answer import LEAST_EVIDENCE, LEVEL_TIE
from ccl_lgs_ros.query.instances import CONNECT_RANGE, CONNECT_SCALES, FULL_SUPPORT, STRAY_SHARE
from ccl_lgs_ros.query.pieces import FACE_ANGLE, FLATNESS, INTERLOCKED
from ccl_lgs_ros.query.strays import core_of
from ccl_lgs_ros.query.twins import twin_of
from ccl_lgs_ros.query.wholes import parts_of_wholes
from ccl_lgs_ros.structures import NONE, SemanticMap


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainThing:
    """Matched Gaussians that are one thing."""

    gaussians: frozenset[int]
    score: float
    evidence: float
    box: Box


def plain_answer(
    semantic_map: SemanticMap,
    relevancy: dict[str, Tensor],
    *,
    threshold: float,
    min_gaussians: int,
    connect_distance: float = 0.0,
) -> tuple[str, list[PlainThing]]:
    """The level that answers and its things, best first."""
    options = {"threshold": threshold, "min_gaussians": min_gaussians, "connect_distance": connect_distance}
    found = {
        name: plain_things(semantic_map, name, relevancy[name], **options)
        for name in ("wp", "sp")
        if name in semantic_map.levels
    }
    best = max((things[0].evidence for things in found.values() if things), default=0.0)
    for name, things in found.items():
        if things and things[0].evidence >= best - LEVEL_TIE:
            return name, things
    return "", []


def plain_things(
    semantic_map: SemanticMap,
    name: str,
    relevancy_of_entry: Tensor,
    *,
    threshold: float,
    min_gaussians: int,
    connect_distance: float,
) -> list[PlainThing]:
    """The things of one level, best first."""
    level, gaussians = semantic_map.levels[name], semantic_map.gaussians
    relevancy = plain_relevancy(semantic_map, name, relevancy_of_entry)
    ids = torch.nonzero((relevancy >= threshold) & (level.track_of_gaussian != NONE))[:, 0]
    if len(ids) == 0:
        return []
    scales = gaussians.log_scales[ids].sort(dim=1).values
    opacity = gaussians.logit_opacities[ids].sigmoid().numpy()
    surface = (torch.pi * (scales[:, 1] + scales[:, 2]).exp()).numpy() * opacity
    spacing = float(scales[:, 1].median().exp())
    distance = connect_distance or float(np.clip(CONNECT_SCALES * spacing, *CONNECT_RANGE))
    points, track = gaussians.means[ids].numpy(), level.track_of_gaussian[ids].long().numpy()
    look = level.codebook.entries[level.entry_of_track].numpy()
    up = np.array(semantic_map.map_up)
    thing, piece = plain_groups(points, track, look, distance, up)
    confidence = level.confidence[ids].numpy() / np.float32(255.0)
    things = []
    for which in range(thing.max() + 1):
        own = thing == which
        is_stray = [
            surface[piece == p].sum() < STRAY_SHARE * surface[track == track[piece == p][0]].sum()
            for p in np.unique(piece[own])
        ]
        if own.sum() < min_gaussians or all(is_stray):
            continue
        weight = (confidence * surface)[own]
        score = np.average(relevancy[ids].numpy()[own], weights=weight if weight.sum() > 0 else None)
        evidence = score * (1.0 - np.exp(-own.sum() / (FULL_SUPPORT * min_gaussians)))
        if evidence >= LEAST_EVIDENCE * threshold:
            for half in _halves(points, opacity, confidence, np.flatnonzero(own), up):
                members = frozenset(ids.numpy()[half].tolist())
                box = plain_box(core_of(points[half], opacity[half], confidence[half]), up)
                things.append(PlainThing(gaussians=members, score=score, evidence=evidence, box=box))
    return sorted(things, key=lambda thing: -thing.evidence)


def plain_relevancy(semantic_map: SemanticMap, name: str, relevancy_of_entry: Tensor) -> Tensor:
    """The relevancy [N] of each Gaussian of a level, one by one."""
    level = semantic_map.levels[name]
    entry_of_track = level.entry_of_track.tolist()
    entries = [NONE if t == NONE else entry_of_track[t] for t in level.track_of_gaussian.tolist()]
    return torch.tensor([0.0 if entry == NONE else float(relevancy_of_entry[entry]) for entry in entries])


def plain_groups(
    points: NDArray[np.float32],
    track: NDArray[np.int64],
    look: NDArray[np.floating],
    distance: float,
    up: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The thing [n] and the piece [n] of each point, as `group_points`."""
    cell_of_point, cells, track_of_cell = _cells(points, track, distance / rules.CELLS_PER_DISTANCE)
    pairs = KDTree(cells).query_pairs(distance, output_type="ndarray")
    is_same = track_of_cell[pairs[:, 0]] == track_of_cell[pairs[:, 1]]
    piece = _components(len(cells), pairs[is_same])
    piece = _gathered(cells, track_of_cell, piece, max(rules.GAP, distance))
    joined = _joined(cells, piece, pairs[~is_same], look[track_of_cell], distance, up)
    near = _satellites(cells, piece, look[track_of_cell], max(rules.SATELLITE_GAP, distance))
    thing = _components(int(piece.max()) + 1, np.array(joined + near, dtype=np.int64).reshape(-1, 2))
    cell_of = [np.flatnonzero(thing[piece] == t) for t in range(thing.max() + 1)]
    main = [np.bincount(piece[cell]).argmax() for cell in cell_of]
    look_of_thing = np.stack([look[track_of_cell[piece == p][0]] for p in main])
    whole = _components(len(main), parts_of_wholes(cells, thing[piece], look_of_thing, up, distance))
    return whole[thing][piece][cell_of_point], piece[cell_of_point]


def _halves(
    points: NDArray[np.float32],
    opacity: NDArray[np.floating],
    confidence: NDArray[np.floating],
    own: NDArray[np.int64],
    up: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """The points of a thing, or of each of the two that it is."""
    is_second = twin_of(points[own], core_of(points[own], opacity[own], confidence[own]), up)
    return [own] if is_second is None else [own[~is_second], own[is_second]]


def plain_box(points: NDArray[np.floating], up: NDArray[np.float64]) -> Box:
    """The box around points [n, 3], as `upright_box`."""
    axes = level_axes(up)
    ground = (points.astype(np.float64) @ axes.T)[:, :2]
    centred = ground - np.median(ground, axis=0)
    local = centred @ np.linalg.eigh(centred.T @ centred)[1]
    low, high = np.percentile(local, [1.0, 99.0], axis=0)
    is_core = ((local >= low) & (local <= high)).all(axis=1)
    core = ground[is_core] if is_core.any() else ground
    angle = np.radians(cv2.minAreaRect((core - core.mean(axis=0)).astype(np.float32))[2])
    turn = np.array([[np.cos(angle), np.sin(angle), 0.0], [-np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    axes = turn @ axes
    low, high = np.percentile(points.astype(np.float64) @ axes.T, [1.0, 99.0], axis=0)
    if high[1] - low[1] > high[0] - low[0]:
        axes = np.stack([axes[1], -axes[0], axes[2]])
        low, high = np.array([low[1], -high[0], low[2]]), np.array([high[1], -low[0], high[2]])
    return Box(center=(low + high) / 2.0 @ axes, rotation=axes.T, size=high - low)


def _cells(
    points: NDArray[np.float32], track: NDArray[np.int64], size: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    middle = np.median(points, axis=0)
    grid = np.clip(np.floor((points - middle) / size), -rules.CELLS_OUT, rules.CELLS_OUT - 1).astype(np.int64)
    key = np.column_stack([track, grid])
    rows, cell = np.unique(key, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    mean = np.stack([points[cell == c].mean(axis=0, dtype=np.float64) for c in range(len(rows))])
    return cell, mean, rows[:, 0]


def _components(count: int, pairs: NDArray[np.integer]) -> NDArray[np.int64]:
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def _gathered(
    cells: NDArray[np.float64], track: NDArray[np.int64], piece: NDArray[np.int64], reach: float
) -> NDArray[np.int64]:
    gathered = piece.copy()
    for t in np.unique(track):
        own = track == t
        main = np.bincount(piece[own]).argmax()
        tree = KDTree(cells[piece == main])
        for p in np.unique(piece[own]):
            if tree.query(cells[piece == p])[0].min() <= reach:
                gathered[piece == p] = main
    return np.unique(gathered, return_inverse=True)[1]


def _joined(
    cells: NDArray[np.float64],
    piece: NDArray[np.int64],
    pairs: NDArray[np.integer],
    look: NDArray[np.floating],
    distance: float,
    up: NDArray[np.float64],
) -> list[tuple[int, int]]:
    joined = []
    size = np.bincount(piece)
    contacts: dict[tuple[int, int], set[int]] = {}
    for a, b in pairs.tolist():
        for own, other in ((a, b), (b, a)):
            contacts.setdefault((int(piece[own]), int(piece[other])), set()).add(own)
    for (small, large), touching in contacts.items():
        if (size[small], small) > (size[large], large):
            continue
        cosine = float(look[piece == small][0] @ look[piece == large][0])
        ratio, share = size[small] / size[large], len(touching) / size[small]
        hangs_on = ratio <= rules.SPECK or (ratio <= rules.STRIP and share >= rules.CLINGS)
        if hangs_on and cosine >= rules.HANGING_COSINE:
            joined.append((small, large))
        elif not hangs_on and cosine >= rules.ALIKE_COSINE:
            shapes = cells[piece == small], cells[piece == large]
            if _interlock(*shapes, distance / 2.0, up) or _corner(*shapes, len(touching)):
                joined.append((small, large))
    return joined


def _interlock(small: NDArray[np.float64], large: NDArray[np.float64], margin: float, up: NDArray[np.float64]) -> bool:
    shares = []
    for points, other in ((small, large), (large, small)):
        box = plain_box(other, up)
        local = (points - box.center) @ box.rotation
        shares.append((np.abs(local) <= box.size / 2.0 + margin).all(axis=1).mean())
    return max(shares) >= INTERLOCKED


def _corner(small: NDArray[np.float64], large: NDArray[np.float64], contact: int) -> bool:
    seam = contact / rules.CELLS_PER_DISTANCE / np.sqrt(len(small))
    normals = [_plane(small), _plane(large)]
    if seam < rules.FACE_CONTACT or any(normal is None for normal in normals):
        return False
    return float(abs(normals[0] @ normals[1])) < np.cos(FACE_ANGLE)


def _plane(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if len(points) < 4:
        return None
    centred = points - points.mean(axis=0)
    spread, directions = np.linalg.eigh(centred.T @ centred / len(points))
    return directions[:, 0] if spread[0] <= FLATNESS**2 * spread[1] else None


def _satellites(
    cells: NDArray[np.float64], piece: NDArray[np.int64], look: NDArray[np.floating], reach: float
) -> list[tuple[int, int]]:
    size = np.bincount(piece)
    is_small = (size <= rules.SATELLITE * size.max())[piece]
    found, tree = [], KDTree(cells[~is_small])
    for cell in np.flatnonzero(is_small):
        gap, nearest = tree.query(cells[cell])
        other = np.flatnonzero(~is_small)[nearest]
        is_part = look[cell] @ look[other] >= rules.SAME_COSINE
        if gap <= reach and is_part and size[piece[cell]] <= rules.SATELLITE * size[piece[other]]:
            found.append((int(piece[cell]), int(piece[other])))
    return found
