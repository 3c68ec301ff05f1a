# SPDX-License-Identifier: Apache-2.0
"""The map from above, its ceiling taken off, with where the camera was and looked."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.floor_plan import FloorPlan
from ccl_lgs_ros.geometry import level_axes
from ccl_lgs_ros.navigating import map_grid
from ccl_lgs_ros.pictures import Image, rendered_color
from ccl_lgs_ros.report.pictures_inside import Inside, inside
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.structures import Gaussians, SemanticMap

WIDTH = 900  # pixels of the longer side
HIGH_ABOVE = 30.0  # times the map's extent: from there nothing leans outwards to speak of
OVER_HEAD = 0.15  # metres above the highest camera at which walls are cut
STRAY = 0.5  # percent of the Gaussians on each side that the plan may leave out
LONGEST = 0.008  # of the extent; Gaussians that are seen end-on can be needles, which nobody has seen from above
MARGIN = 0.04  # of the extent, on each side
PAPER = (245, 242, 236)
MOST_ARROWS = 40
ARROW = 0.022  # of the longer side
SHORTEST_SCALE = 0.12  # of the longer side


class Arrow(NamedTuple):
    """Where a keyframe was, as the corners of an SVG polygon."""

    points: str
    place: int
    is_held_out: bool


class Ground(NamedTuple):
    """The plan's place in the world."""

    axes: NDArray[np.float64]  # [3, 3] rows: to the right, to the top of the page, up
    low: NDArray[np.float64]  # [2] metres along the first two axes, of the lower left corner
    scale: float  # pixels per metre
    width: int
    height: int

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels [n, 2] of points [n, 3] in the world."""
        flat = (points @ self.axes.T)[:, :2] - self.low
        return np.stack([flat[:, 0], self.height / self.scale - flat[:, 1]], axis=1) * self.scale


def section(subject: Subject) -> dict[str, Any]:
    """The floor plan as a picture, and what is drawn over it."""
    poses = np.array([entry.world_from_camera for entry in subject.keyframes.entries]).reshape(-1, 4, 4)
    if not len(subject.map.gaussians):
        return {"missing": "The map has no Gaussians yet, so there is nothing to see from above."}
    kept, ground = _ground(subject.map, poses[:, :3, 3])
    path = ground.pixels(poses[:, :3, 3])
    length, scale_text = _scale(ground)
    return {
        "picture": inside(_from_above(subject, kept, ground)),
        "grid": _grid(subject, poses),
        "path": " ".join(f"{x:.1f},{y:.1f}" for x, y in path),
        "ends": [tuple(path[0]), tuple(path[-1])] if len(path) else [],
        "arrows": _arrows(subject, poses, ground),
        "scale": length,
        "scale_text": scale_text,
        "num_keyframes": len(poses),
        "distance": float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()),
        "extent": (ground.width / ground.scale, ground.height / ground.scale),
        "marks": _marks(subject, ground),
        "right": _direction(ground.axes[0]),
        "top": _direction(ground.axes[1]),
    }


def _ground(semantic_map: SemanticMap, positions: NDArray[np.floating]) -> tuple[Gaussians, Ground]:
    """The Gaussians that are not over everyone's head, and the rectangle of the floor that holds them and the path."""
    axes = level_axes(np.array(semantic_map.map_up))
    local = semantic_map.gaussians.means.numpy(force=True).astype(np.float64) @ axes.T
    path = positions @ axes.T
    ceiling = path[:, 2].max() + OVER_HEAD if len(path) else np.inf
    is_below = local[:, 2] <= ceiling
    if not is_below.any():
        is_below[:] = True
    low, high = np.percentile(local[is_below, :2], (STRAY, 100 - STRAY), axis=0)
    if len(path):
        low, high = np.minimum(low, path[:, :2].min(axis=0)), np.maximum(high, path[:, :2].max(axis=0))
    extent = max(float((high - low).max()), 0.1)
    low, high = low - MARGIN * extent, high + MARGIN * extent
    scale = WIDTH / float((high - low).max())
    width, height = (max(1, round(float(side) * scale)) for side in high - low)
    kept = semantic_map.gaussians.select(torch.from_numpy(is_below).to(semantic_map.gaussians.means.device))
    return kept, Ground(axes, low, scale, width, height)


def _from_above(subject: Subject, gaussians: Gaussians, ground: Ground) -> Image:
    """The picture [height, width], on paper where nothing is."""
    right, top, up = ground.axes
    extent = WIDTH / ground.scale
    local = gaussians.means.numpy(force=True).astype(np.float64) @ up
    distance = HIGH_ABOVE * extent
    middle = ground.low + np.array([ground.width, ground.height]) / ground.scale / 2
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, -top, -up], axis=1)
    pose[:3, 3] = middle[0] * right + middle[1] * top + (float(np.median(local)) + distance) * up
    focal = ground.scale * distance
    camera = Camera(
        width=ground.width, height=ground.height, fx=focal, fy=focal, cx=ground.width / 2, cy=ground.height / 2
    )
    plain = replace(
        gaussians,
        sh=gaussians.sh[:, :1],  # nobody has seen them from there
        log_scales=gaussians.log_scales.clamp(max=math.log(LONGEST * extent)),
    )
    with torch.no_grad():
        view = subject.rasterizer.render(plain, camera, pose)
    alpha = view.alpha.numpy(force=True)[..., None]
    return rendered_color(view.color.numpy(force=True) + (1.0 - alpha) * np.array(PAPER) / 255.0)


def _grid(subject: Subject, poses: NDArray[np.floating]) -> Inside | None:
    """Where the robot of the options may be; None where no floor was seen."""
    grid = map_grid(subject.map, subject.config)
    if not grid.is_free.any():
        return None
    drawn = FloorPlan(grid)
    if len(poses):
        drawn.draw_cameras(poses)
    return inside(drawn.finished())


def _arrows(subject: Subject, poses: NDArray[np.floating], ground: Ground) -> list[Arrow]:
    """A wedge at each of some keyframes that opens where the camera looks; those that look up or down have none."""
    held_out = set(subject.held_out)
    places = np.unique(np.linspace(0, len(poses) - 1, min(len(poses), MOST_ARROWS)).round().astype(int))
    size, found = ARROW * WIDTH, []
    for place in places.tolist():
        at = ground.pixels(poses[place : place + 1, :3, 3])[0]
        ahead = (ground.axes @ poses[place, :3, 2])[:2] * (1.0, -1.0)
        if np.linalg.norm(ahead) < 0.1:
            continue
        ahead = ahead / np.linalg.norm(ahead) * size
        aside = np.array([-ahead[1], ahead[0]]) * 0.45
        corners = (at, at + ahead + aside, at + ahead - aside)
        found.append(Arrow(" ".join(f"{x:.1f},{y:.1f}" for x, y in corners), place, place in held_out))
    return found


def _marks(subject: Subject, ground: Ground) -> list[dict[str, Any]]:
    """A numbered dot where each of the things is that the page shows."""
    if subject.seen is None:
        return []
    found = []
    for number, thing in enumerate(subject.seen.things, start=1):
        x, y = ground.pixels(thing.middle[None])[0]
        if 0 <= x < ground.width and 0 <= y < ground.height:
            found.append({"number": number, "x": float(x), "y": float(y), "colour": subject.colour_of(thing.id)})
    return found


def _scale(ground: Ground) -> tuple[float, str]:
    """The length in pixels of a scale bar of a round number of metres, and that number as text."""
    least = SHORTEST_SCALE * WIDTH / ground.scale
    power = 10.0 ** math.floor(math.log10(least))
    metres = next(step * power for step in (1, 2, 5, 10) if step * power >= least)
    return metres * ground.scale, f"{metres:g} m" if metres >= 1 else f"{100 * metres:g} cm"


def _direction(axis: NDArray[np.floating]) -> str:
    """The axis of the map's frame that a direction is nearest to, as "+x"."""
    best = int(np.argmax(np.abs(axis)))
    return f"{'+' if axis[best] > 0 else '-'}{'xyz'[best]}"
