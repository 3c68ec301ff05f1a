# SPDX-License-Identifier: Apache-2.0
"""What a colour and depth camera makes of light and distance: exposure, noise, quantisation, holes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.synthetic.colours import srgb_bytes
from ccl_lgs_ros.synthetic.raycaster import View, pixel_rays
from ccl_lgs_ros.synthetic.shapes import Floats

EXPOSURE = 0.13  # largest change of the brightness between frames, relative
TINT = 0.015  # largest change of the red-blue balance, relative
COLOUR_NOISE = 1.6  # grey levels
DEPTH_NOISE = (0.0008, 0.0016)  # metres at 0.4 m, and metres per square metre beyond: structured light grows so
DEPTH_STEP = 0.0007  # metres of quantisation at 1 m, growing with the square of depth
DEPTH_RANGE = (0.25, 6.0)  # metres
GRAZING = 0.16  # cosine under which most depth is lost
EDGE = 0.03  # relative jump of depth that makes an edge
EDGE_LOSS, GRAZING_LOSS, RANDOM_LOSS = 0.55, 0.7, 0.002  # shares of pixels


def exposure_at(seconds: float, seed: int) -> float:
    """The gain of the camera, which wanders smoothly as automatic exposure does."""
    phase = np.random.default_rng([seed, 11]).uniform(0, 2 * np.pi, 2)
    return float(1.0 + EXPOSURE * (0.6 * np.sin(0.9 * seconds + phase[0]) + 0.4 * np.sin(2.3 * seconds + phase[1])))


def photograph(light: Floats, gain: float, tint: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """The sRGB image [H, W, 3] of linear light under a gain, with noise."""
    balance = np.array([1.0 + TINT * tint, 1.0, 1.0 - TINT * tint])
    image = srgb_bytes(light * gain * balance).astype(np.float32)
    image += random.normal(0.0, COLOUR_NOISE, image.shape).astype(np.float32)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def measured_depth(view: View, camera: Camera, origin: Floats, random: np.random.Generator) -> NDArray[np.float32]:
    """Depth [H, W] as a sensor gives it: noisy, quantised, NaN at edges, at grazing angles and out of range."""
    depth = view.depth
    near, growth = DEPTH_NOISE
    sigma = near + growth * np.maximum(depth - 0.4, 0.0) ** 2
    white = random.normal(size=depth.shape)
    patchy = cv2.GaussianBlur(random.normal(size=depth.shape), (0, 0), 2.0) * 7.0  # back to unit variance
    noisy = depth + sigma * (0.6 * white + 0.8 * patchy)
    step = DEPTH_STEP * depth**2
    noisy = np.round(noisy / step) * step
    lost = _is_lost(view, camera, origin, random)
    lost |= (depth < DEPTH_RANGE[0]) | (depth > DEPTH_RANGE[1])
    return np.where(lost, np.nan, noisy).astype(np.float32)


def _is_lost(view: View, camera: Camera, origin: Floats, random: np.random.Generator) -> NDArray[np.bool_]:
    rays = view.points - origin
    cosine = np.abs((rays * view.normals).sum(-1)) / np.linalg.norm(rays, axis=-1)
    high = cv2.dilate(view.depth, np.ones((3, 3)))
    low = cv2.erode(view.depth, np.ones((3, 3)))
    edge = (high - low) > EDGE * low + DEPTH_STEP
    # A plane seen at a shallow angle also jumps from pixel to pixel; only a step beyond its slope is an edge.
    slope = (
        view.depth * np.abs(pixel_rays(camera)[1, 0, 1] - pixel_rays(camera)[0, 0, 1]) * 3 / np.maximum(cosine, 0.05)
    )
    edge &= (high - low) > slope
    chance = random.random(view.depth.shape)
    lost = edge & (chance < EDGE_LOSS)
    return lost | ((cosine < GRAZING) & (chance < GRAZING_LOSS)) | (chance < RANDOM_LOSS)
