# SPDX-License-Identifier: Apache-2.0
"""Planes swept through a scene: the costs and their smoothing against plain loops, the depth of a painted plane."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.gaussians.sweep import (
    COST_OF_COLOUR,
    COST_OF_GRADIENT,
    JUMP,
    JUMP_KNEE,
    NEUTRAL,
    SMALL_STEP,
    Sight,
    appearance_of,
    matching_costs,
    smoothed,
    sweep,
)
from ccl_lgs_ros.geometry import rigid

CAMERA = Camera(width=96, height=72, fx=80.0, fy=80.0, cx=48.0, cy=36.0)
DEPTH = 2.0


def painting(seed: int = 0) -> NDArray[np.uint8]:
    """Blobs of many colours and sizes."""
    random = np.random.default_rng(seed)
    image = np.zeros((300, 400, 3), np.float32)
    for size in (3, 9, 25):
        noise = random.normal(size=image.shape).astype(np.float32)
        image += cv2.GaussianBlur(noise, (0, 0), size) * size
    return np.clip(128 + 60 * image / image.std(), 0, 255).astype(np.uint8)


def photograph(world_from_camera: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A camera's image [72, 96, 3] of the painting, which hangs in the plane z = 2 at 100 pixels a metre."""
    rays = CAMERA.unproject(np.ones((72, 96), np.float32)).astype(np.float64) @ world_from_camera[:3, :3].T
    centre = world_from_camera[:3, 3]
    hit = centre + rays * ((DEPTH - centre[2]) / rays[..., 2])[..., None]
    u, v = (100.0 * hit[..., 0] + 200.0).astype(np.float32), (100.0 * hit[..., 1] + 150.0).astype(np.float32)
    return np.asarray(cv2.remap(painting(), u, v, cv2.INTER_LINEAR), np.uint8)


def sight(world_from_camera: NDArray[np.float64]) -> Sight:
    """A neighbour of the camera at the origin."""
    return Sight(
        camera=CAMERA,
        neighbour_from_camera=np.linalg.inv(world_from_camera),
        appearance=appearance_of(photograph(world_from_camera)),
    )


def at(x: float, y: float = 0.0, z: float = 0.0) -> NDArray[np.float64]:
    return rigid(np.eye(3), np.array([x, y, z]))


@pytest.mark.parametrize(
    "poses", [[at(0.2), at(-0.2)], [at(0.0, 0.0, 0.4), at(0.0, 0.0, -0.3)], [at(0.1, 0.2, 0.1)]], ids=str
)
def test_a_painted_plane_lies_where_it_hangs_for_any_motion(poses: list[NDArray[np.float64]]) -> None:
    image = photograph(np.eye(4))
    planes = np.linspace(1 / 6.0, 1 / 0.8, 64)  # 2 m lies between two of them
    found = sweep(CAMERA, image, appearance_of(image), [sight(pose) for pose in poses], planes)
    inner = found.depth[8:-8, 8:-8]
    assert np.median(np.abs(1 / inner - 1 / DEPTH)) < 0.5 * (planes[1] - planes[0])
    assert np.mean(np.abs(inner - DEPTH) < 0.05 * DEPTH) > 0.8


def test_what_looks_alike_at_every_depth_has_no_margin() -> None:
    image = np.full((72, 96, 3), 128, np.uint8)
    plain = Sight(camera=CAMERA, neighbour_from_camera=at(-0.2), appearance=appearance_of(image))
    painted = photograph(np.eye(4))
    planes = np.linspace(0.2, 1.2, 24)
    nothing = sweep(CAMERA, image, appearance_of(image), [plain], planes)
    something = sweep(CAMERA, painted, appearance_of(painted), [sight(at(0.2))], planes)
    middle = (slice(20, -20), slice(30, -30))  # seen by the neighbour at every depth
    assert np.median(nothing.margin[middle]) < 0.1 * np.median(something.margin[middle])


def test_appearance_does_not_change_with_exposure() -> None:
    image = photograph(np.eye(4))
    darker = (image * 0.85).astype(np.uint8)
    same, other = appearance_of(image).astype(int), appearance_of(photograph(at(0.3))).astype(int)
    dark = appearance_of(darker).astype(int)
    assert np.abs(dark - same).mean() < 0.3 * np.abs(other - same).mean()
    assert appearance_of(image).min() > 0


def test_costs_are_those_of_the_two_neighbours_that_agree_best() -> None:
    """Each pixel of each plane by itself: its ray cut with the plane, looked up in each neighbour."""
    image = photograph(np.eye(4))
    mine = appearance_of(image)
    sights = [sight(at(0.2)), sight(at(-0.1, 0.1)), sight(at(0.0, 0.0, 0.3))]
    planes = np.array([0.3, 0.5, 0.9, 1.2])
    costs = matching_costs(CAMERA, mine, sights, planes)
    expected = np.zeros((72, 96, 4))
    weights = np.array([COST_OF_GRADIENT, COST_OF_GRADIENT, COST_OF_COLOUR, COST_OF_COLOUR])
    for d, inverse_depth in enumerate(planes):
        points = CAMERA.unproject(np.full((72, 96), 1.0 / inverse_depth, np.float32)).astype(np.float64)
        found = []
        for each in sights:
            there = CAMERA.project(points + each.neighbour_from_camera[:3, 3]).astype(np.float32) - 0.5
            shown = cv2.remap(each.appearance, there[..., 0], there[..., 1], cv2.INTER_LINEAR)
            cost = np.minimum((np.abs(shown.astype(float) - mine) * weights).sum(axis=2), 255.0)
            found.append(np.where(shown[..., 2] > 0, cost, np.nan))
        least = np.sort(np.stack(found), axis=0)[:2]
        mean = np.where(np.isfinite(least[1]), least.mean(axis=0), np.where(np.isfinite(least[0]), least[0], NEUTRAL))
        expected[..., d] = cv2.blur(mean.astype(np.float32), (3, 3))
    inner = np.abs(costs - expected)[4:-4, 4:-4]
    assert np.median(inner) <= 2.0  # rounded to whole levels, and looked up at 1/32 of a pixel
    assert np.mean(inner > 8.0) < 0.02


def test_smoothing_is_that_of_plain_loops() -> None:
    random = np.random.default_rng(3)
    costs = random.integers(0, 255, (5, 6, 7)).astype(np.int16)
    lightness = random.integers(0, 255, (5, 6)).astype(np.uint8)
    np.testing.assert_array_equal(smoothed(costs, lightness), plainly_smoothed(costs, lightness))


def plainly_smoothed(costs: NDArray[np.int16], lightness: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Hirschmueller, 2008, eq. 13, pixel by pixel, for 8 directions."""
    height, width, planes = costs.shape
    total = np.zeros(costs.shape, np.int64)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        ways = np.zeros(costs.shape, np.int64)
        for y in range(height)[:: -1 if dy < 0 else 1]:
            for x in range(width)[:: -1 if dx < 0 else 1]:
                ways[y, x] = costs[y, x]
                py, px = y - dy, x - dx
                if not (0 <= py < height and 0 <= px < width):
                    continue
                step = abs(float(lightness[y, x]) - float(lightness[py, px]))
                jump = int(SMALL_STEP + JUMP / (1.0 + step / JUMP_KNEE))
                before, least = ways[py, px], ways[py, px].min()
                for d in range(planes):
                    options = [before[d], least + jump]
                    options += [before[e] + SMALL_STEP for e in (d - 1, d + 1) if 0 <= e < planes]
                    ways[y, x, d] += min(options) - least
        total += ways
    return total
