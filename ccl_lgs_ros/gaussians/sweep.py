# SPDX-License-Identifier: Apache-2.0
"""Dense depth of an image from posed neighbours: planes swept through the scene, smoothed along scanlines.

Each neighbour is seen through planes at many depths; where a plane cuts a surface, the images agree. This takes any
number of neighbours and any motion, forward too, where a rectified pair would have its epipole within the image.
numpy and OpenCV.

Source: planes: Collins, 1996; the better half of the neighbours: Kang et al., 2001; smoothing: semi-global matching
(Hirschmueller, 2008), eq. 13, 8 paths. The cost is ours: gradients of lightness, damped, and CIELAB's colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera

MIDDLE = 128  # of a channel; 0 stays free for "outside the image"
GRADIENT_GAIN, GRADIENT_KNEE = 40.0, 8.0  # weak edges count, strong ones not much more
COLOUR_GAIN = 2.0
COST_OF_GRADIENT, COST_OF_COLOUR = 2.1, 5.3  # per level; the sum saturates at 255
NEUTRAL = 128  # cost where no neighbour looks
SMALL_STEP = 5  # cost of a depth that moves on by one plane
JUMP = 50  # cost of any other change, over plain colour
JUMP_KNEE = 8.0  # levels of lightness across which that is halved
REACH = 2  # planes around the best that do not count as another answer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """A neighbour as an image sees it."""

    camera: Camera
    neighbour_from_camera: NDArray[np.float64]  # [4, 4]
    appearance: NDArray[np.uint8]  # [h, w, 4]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swept:
    """What a sweep found."""

    depth: NDArray[np.float32]  # [H, W] metres along z, everywhere
    margin: NDArray[np.float32]  # [H, W] how much dearer the next best depth is; 0 at the ends of the range


def appearance_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is compared of an image [H, W, 3]: gradients of lightness and colour [H, W, 4], never 0.

    Neither depends much on exposure.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    lightness = cv2.GaussianBlur(lab[..., 0] * 2.55, (0, 0), 0.7)
    gradients = [cv2.Scharr(lightness, cv2.CV_32F, dx, dy) / 16.0 for dx, dy in ((1, 0), (0, 1))]
    damped = [np.sign(g) * GRADIENT_GAIN * np.log1p(np.abs(g) / GRADIENT_KNEE) for g in gradients]
    channels = np.dstack([*damped, COLOUR_GAIN * lab[..., 1], COLOUR_GAIN * lab[..., 2]])
    return np.clip(np.rint(MIDDLE + channels), 1, 255).astype(np.uint8)


def sweep(
    camera: Camera,
    image: NDArray[np.uint8],
    appearance: NDArray[np.uint8],
    sights: Sequence[Sight],
    inverse_depths: NDArray[np.float64],
) -> Swept:
    """The depth of every pixel.

    Args:
        camera: of the image.
        image: [H, W, 3] RGB; the depth changes most readily where its lightness does.
        appearance: of the image.
        sights: one neighbour or more.
        inverse_depths: [D] 1 / metres of the planes, evenly spaced, D >= 4.
    """
    costs = matching_costs(camera, appearance, sights, inverse_depths)
    total = smoothed(costs, np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))
    return _best(total, inverse_depths)


def matching_costs(
    camera: Camera, appearance: NDArray[np.uint8], sights: Sequence[Sight], inverse_depths: NDArray[np.float64]
) -> NDArray[np.int16]:
    """How badly the two best neighbours agree with the image at each pixel and plane, [H, W, D] in 0 to 255."""
    height, width = appearance.shape[:2]
    size = (width, height)
    costs = np.empty((len(inverse_depths), height, width), np.uint8)
    mixing = np.array([[COST_OF_GRADIENT, COST_OF_GRADIENT, COST_OF_COLOUR, COST_OF_COLOUR]], np.float32)
    from_pixels = np.linalg.inv(_opencv_intrinsics(camera))
    for d, inverse_depth in enumerate(inverse_depths):
        least = np.full((height, width), 255, np.uint8)
        second, count = least.copy(), np.zeros((height, width), np.uint8)
        for sight in sights:
            pose = sight.neighbour_from_camera
            moved = pose[:3, :3].copy()
            moved[:, 2] += inverse_depth * pose[:3, 3]  # the plane z = 1 / inverse_depth
            plane = _opencv_intrinsics(sight.camera) @ moved @ from_pixels
            shown = cv2.warpPerspective(sight.appearance, plane, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            cost = cv2.transform(cv2.absdiff(appearance, shown), mixing)
            is_seen = cv2.inRange(shown[..., 2], 1, 255)
            cost = cv2.max(cost, cv2.bitwise_not(is_seen))
            count += np.asarray(is_seen, np.uint8) & 1
            second = cv2.min(second, cv2.max(least, cost))
            least = cv2.min(least, cost)
        mean = cv2.addWeighted(least, 0.5, second, 0.5, 0.0)
        mean = np.where(count > 1, mean, np.where(count == 1, least, NEUTRAL)).astype(np.uint8)
        costs[d] = cv2.blur(mean, (3, 3))
    return np.ascontiguousarray(np.moveaxis(costs, 0, -1)).astype(np.int16)


def smoothed(costs: NDArray[np.int16], lightness: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Costs [H, W, D] plus those of the cheapest way there along each of 8 directions; lightness is [H, W]."""
    total = np.zeros_like(costs)
    for shift in (-1, 0, 1):
        total += _along_rows(costs, lightness, shift)
        total[::-1] += _along_rows(costs[::-1], lightness[::-1], shift)
    across, light = np.ascontiguousarray(costs.transpose(1, 0, 2)), np.ascontiguousarray(lightness.T)
    total += _along_rows(across, light, 0).transpose(1, 0, 2)
    total[:, ::-1] += _along_rows(across[::-1], light[::-1], 0).transpose(1, 0, 2)
    return total


def _along_rows(costs: NDArray[np.int16], lightness: NDArray[np.uint8], shift: int) -> NDArray[np.int16]:
    """The cheapest ways from the first row on; each pixel comes from the row before, `shift` columns to its left."""
    result = np.empty_like(costs)
    result[0] = before = costs[0]
    light = lightness.astype(np.float32)
    for row in range(1, len(costs)):
        step = np.abs(light[row] - np.roll(light[row - 1], shift))
        jump = (SMALL_STEP + JUMP / (1.0 + step / JUMP_KNEE)).astype(np.int16)
        if shift:
            before = np.roll(before, shift, axis=0)
        least = before.min(axis=1)
        way = np.minimum(before, (least + jump)[:, None])
        np.minimum(way[:, 1:], before[:, :-1] + np.int16(SMALL_STEP), out=way[:, 1:])
        np.minimum(way[:, :-1], before[:, 1:] + np.int16(SMALL_STEP), out=way[:, :-1])
        way -= least[:, None]
        if shift:
            way[0 if shift > 0 else -1] = 0  # nothing is beside the image
        before = np.add(costs[row], way, out=result[row])
    return result


def _best(total: NDArray[np.int16], inverse_depths: NDArray[np.float64]) -> Swept:
    """The cheapest depth of each pixel, between planes by a parabola through three costs."""
    last = total.shape[2] - 1
    best = total.argmin(axis=2)
    inner = np.clip(best, 1, last - 1)
    low, mid, high = (
        np.take_along_axis(total, inner[..., None] + k, axis=2)[..., 0].astype(np.float32) for k in (-1, 0, 1)
    )
    bend = low - 2.0 * mid + high
    is_inner = (best == inner) & (bend > 0)
    offset = np.where(is_inner, np.clip(0.5 * (low - high) / np.maximum(bend, 1.0), -0.5, 0.5), 0.0)
    inverse = np.interp(best + offset, np.arange(last + 1), inverse_depths)
    others = total.copy()
    for k in range(-REACH, REACH + 1):
        np.put_along_axis(others, np.clip(best + k, 0, last)[..., None], np.iinfo(np.int16).max, axis=2)
    margin = others.min(axis=2).astype(np.float32) - np.take_along_axis(total, best[..., None], axis=2)[..., 0]
    is_end = (best == 0) | (best == last)
    return Swept(depth=(1.0 / inverse).astype(np.float32), margin=np.where(is_end, 0.0, margin).astype(np.float32))


def _opencv_intrinsics(camera: Camera) -> NDArray[np.float64]:
    """K [3, 3] for pixels counted from the centre of the first."""
    intrinsics = camera.intrinsics
    intrinsics[:2, 2] -= 0.5
    return intrinsics
