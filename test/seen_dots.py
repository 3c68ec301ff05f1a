# SPDX-License-Identifier: Apache-2.0
"""Pictures of one soft dot each: where a lens shows a point, and where a picture does."""

import cv2
import numpy as np


def distorted(points: np.ndarray, model: str, d: tuple[float, ...], k: tuple[float, ...]) -> np.ndarray:
    """Pixels [N, 2] of points in the full image, by OpenCV, the centre of the top-left pixel being (0, 0)."""
    matrix, zero = np.array(k).reshape(3, 3), np.zeros(3)
    coefficients = np.array(d) if d else np.zeros(4)
    if model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, matrix, coefficients)
    else:
        pixels, _ = cv2.projectPoints(points[:, None], zero, zero, matrix, coefficients)
    return pixels.reshape(-1, 2)


def dot(pixel: np.ndarray, size: tuple[int, int], sigma: float = 2.0) -> np.ndarray:
    """A picture with one soft dot, centred between pixels where need be."""
    v, u = np.mgrid[0 : size[1], 0 : size[0]]
    spot = 250 * np.exp(-((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2) / (2 * sigma**2))
    return np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=-1)


def centre(image: np.ndarray) -> np.ndarray:
    """Where the dot is; the centre of the top-left pixel is (0.5, 0.5)."""
    weight = image[..., 0].astype(float)
    weight[weight < 8] = 0
    v, u = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] + 0.5
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()
