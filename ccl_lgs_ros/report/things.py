# SPDX-License-Identifier: Apache-2.0
"""The things that the keyframes show most of, and which of them see each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.level_names import coarsest
from ccl_lgs_ros.protocols import Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

MOST_VIEWS = 64  # keyframes that are looked at, evenly spread
SEEN_WIDTH = 160  # pixels; enough to see where things are
MOST_THINGS = 12
LEAST_VIEWS = 3  # that a thing must be seen in to be shown
LEAST_PIXELS = 30.0  # of a thing in a view at that width, or it is not seen there
BACKGROUND_SHARE = 0.25  # of a picture; what fills more of those that see it is a wall or a floor
BACKGROUND_EXTENT = 0.5  # of the map's; what is longer is a wall or a floor too, seen in pieces
STRAY = 5.0  # percent of Gaussians on each side that extents leave out
LARGE = 0.05  # share of a picture; a thing that fills more is not more worth looking at


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A keyframe that sees a thing."""

    place: int  # of the keyframe
    pixels: float  # of the picture at SEEN_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thing:
    """A track with where it was seen."""

    track: int
    id: int
    num_gaussians: int
    middle: NDArray[np.floating]  # [3] metres, world
    sightings: tuple[Sighting, ...]  # in the order of the drive


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What the keyframes see at the whole level."""

    places: NDArray[np.int64]  # [v] of the keyframes that were looked at
    pixels: NDArray[np.float64]  # [v, T] of each track in each
    things: tuple[Thing, ...]  # most worth looking at first
    num_background: int  # tracks that are walls and floors, left out


def seen_things(
    semantic_map: SemanticMap,
    cameras: Sequence[tuple[Camera, NDArray[np.float64]]],
    places: NDArray[np.int64],
    rasterizer: Rasterizer,
    progress: Progress,
) -> Seen:
    """Look at the map from keyframes at some places: a thing is seen where its Gaussians are what is drawn.

    Args:
        cameras: of all keyframes, with world_from_camera [4, 4].
    """
    level, rows = semantic_map.levels[coarsest(semantic_map.levels)], []
    for done, place in enumerate(places, start=1):
        rows.append(_shares_in_view(semantic_map, rasterizer, *cameras[int(place)]))
        progress("look", done, len(places))
    shares = np.array([share for share, _ in rows]).reshape(len(places), level.num_tracks)
    areas = np.array([area for _, area in rows]).reshape(len(places), 1)
    pixels = shares * areas
    chosen, num_background = _chosen(shares, pixels, _is_long(semantic_map, level))
    return Seen(
        places=places,
        pixels=pixels,
        things=tuple(_thing(semantic_map, int(track), places, pixels[:, track]) for track in chosen),
        num_background=num_background,
    )


def masks_of(
    semantic_map: SemanticMap, tracks: list[int], rasterizer: Rasterizer, camera: Camera, pose: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Where each of some tracks holds most of what a pixel shows [H, W, t]."""
    track = semantic_map.levels[coarsest(semantic_map.levels)].track_of_gaussian
    is_own = torch.stack([track == one for one in tracks], dim=1).float()
    with torch.no_grad():
        view = rasterizer.render(semantic_map.gaussians, camera, pose, is_own.to(semantic_map.gaussians.means.device))
    return (view.features > 0.5 * view.alpha.clamp_min(0.1)[..., None]).numpy(force=True)


def _shares_in_view(
    semantic_map: SemanticMap, rasterizer: Rasterizer, camera: Camera, pose: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """The share [T] of a picture that each track fills, and the picture's pixels at SEEN_WIDTH."""
    level = semantic_map.levels[coarsest(semantic_map.levels)]
    camera = camera.resized(SEEN_WIDTH, max(1, round(camera.height * SEEN_WIDTH / camera.width)))
    nothing = torch.full((camera.height, camera.width), NONE, dtype=torch.int32)
    votes = rasterizer.vote(semantic_map.gaussians, camera, pose, nothing)
    track = level.track_of_gaussian.numpy(force=True).astype(np.int64)
    sums = np.bincount(track + 1, votes.visibility.numpy(force=True), minlength=level.num_tracks + 1)[1:]
    return sums / (camera.width * camera.height), camera.width * camera.height


def _is_long(semantic_map: SemanticMap, level: SemanticLevel) -> NDArray[np.bool_]:
    """Which tracks [T] reach through much of the map."""
    means = semantic_map.gaussians.means.numpy(force=True)
    track = level.track_of_gaussian.numpy(force=True)
    whole = np.ptp(np.percentile(means, (STRAY, 100 - STRAY), axis=0), axis=0).max()
    order = np.argsort(track, kind="stable")
    ends = np.searchsorted(track[order], np.arange(level.num_tracks + 1))
    is_long = np.zeros(level.num_tracks, np.bool_)
    for one, (first, end) in enumerate(pairwise(ends.tolist())):
        if end > first:
            sides = np.percentile(means[order[first:end]], (STRAY, 100 - STRAY), axis=0)
            is_long[one] = np.ptp(sides, axis=0).max() > BACKGROUND_EXTENT * whole
    return is_long


def _chosen(
    shares: NDArray[np.float64], pixels: NDArray[np.float64], is_long: NDArray[np.bool_]
) -> tuple[list[int], int]:
    """The tracks to show, most worth looking at first, and how many were left out as background."""
    is_seen = pixels >= LEAST_PIXELS
    views = is_seen.sum(axis=0)
    share = np.where(is_seen, shares, 0.0).sum(axis=0) / np.maximum(views, 1)
    is_enough = views >= LEAST_VIEWS
    is_background = is_enough & (is_long | (share > BACKGROUND_SHARE))
    merit = np.where(is_enough & ~is_background, views * np.sqrt(np.minimum(share, LARGE)), 0.0)
    order = np.argsort(-merit, kind="stable")
    return [int(track) for track in order[:MOST_THINGS] if merit[track] > 0.0], int(is_background.sum())


def _thing(semantic_map: SemanticMap, track: int, places: NDArray[np.int64], pixels: NDArray[np.float64]) -> Thing:
    level = semantic_map.levels[coarsest(semantic_map.levels)]
    means = semantic_map.gaussians.means[level.track_of_gaussian == track].numpy(force=True)
    sightings = [
        Sighting(place=int(place), pixels=float(count))
        for place, count in zip(places, pixels, strict=True)
        if count >= LEAST_PIXELS
    ]
    return Thing(
        track=track,
        id=int(level.ids[track]),
        num_gaussians=len(means),
        middle=np.median(means, axis=0),
        sightings=tuple(sightings),
    )
