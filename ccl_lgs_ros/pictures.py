# SPDX-License-Identifier: Apache-2.0
"""Pictures that people look at: masks, boxes and heat drawn over photos and renderings. Images are RGB uint8."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, transform_points

Image = NDArray[Any]  # [H, W, 3] uint8

MASK_COLOUR = (255, 64, 180)  # magenta: rare in rooms
BOX_COLOUR = (255, 220, 40)
NEAR = 0.05  # metres; lines are cut here, before they run behind the camera
FONT = cv2.FONT_HERSHEY_SIMPLEX
BOX_EDGES = tuple((a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit)


def with_mask(image: Image, mask: NDArray[np.bool_], colour: tuple[int, int, int] = MASK_COLOUR) -> Image:
    """The image with a mask tinted and outlined."""
    drawn = image.copy()
    tint = np.array(colour, np.float32)
    drawn[mask] = (0.55 * drawn[mask] + 0.45 * tint).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(drawn, contours, -1, colour, 2, cv2.LINE_AA)


def with_box(image: Image, box: Box, camera: Camera, world_from_camera: NDArray[np.float64], label: str = "") -> Image:
    """The image with the edges of a 3D box, and a label at its highest visible corner."""
    drawn = image.copy()
    corners = np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5
    world = box.center + (corners * box.size) @ box.rotation.T
    points = transform_points(invert_rigid(world_from_camera), world)
    for a, b in BOX_EDGES:
        ends = _before_camera(points[a], points[b])
        if ends is not None:
            pixels = np.clip(camera.project(ends), -1e4, 1e4)
            start, end = (tuple(round(float(x)) for x in pixel) for pixel in pixels)
            cv2.line(drawn, start, end, BOX_COLOUR, 2, cv2.LINE_AA)
    seen = camera.project(points[points[:, 2] > NEAR])
    if label and len(seen):
        left, top = np.clip(seen[seen[:, 1].argmin()], (2, 14), (camera.width - 60, camera.height - 4))
        _write(drawn, label, (int(left), int(top) - 3), BOX_COLOUR)
    return drawn


def heat(relevancy: NDArray[np.floating], image: Image | None = None) -> Image:
    """Relevancy [H, W] in [0, 1] as colours, over the darkened image if there is one."""
    colours = cv2.applyColorMap((np.clip(relevancy, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    if image is None:
        return colours
    return (0.4 * image + 0.6 * colours).astype(np.uint8)


def captioned(image: Image, text: str) -> Image:
    """The image with a line of text on a dark bar above it."""
    bar = np.full((24, image.shape[1], 3), 24, np.uint8)
    _write(bar, text, (6, 17), (240, 240, 240))
    return np.vstack([bar, image])


def beside(*images: Image, columns: int = 0) -> Image:
    """Images of one size side by side, in rows of `columns` (0 = one row)."""
    columns = columns or len(images)
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    blank = np.full_like(images[0], 24)
    return np.vstack([np.hstack([*row, *[blank] * (columns - len(row))]) for row in rows])


def rendered_color(color: NDArray[np.floating]) -> Image:
    """Colours [H, W, 3] of a rendering as an image."""
    return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)


def _before_camera(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """The part of a segment between points [3] that lies in front of the near plane."""
    if a[2] < NEAR and b[2] < NEAR:
        return None
    if a[2] < NEAR or b[2] < NEAR:
        crossing = a + (NEAR - a[2]) / (b[2] - a[2]) * (b - a)
        a, b = (crossing, b) if a[2] < NEAR else (a, crossing)
    return np.stack([a, b])


def _write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    text = text.encode("ascii", "replace").decode()
    cv2.putText(image, text, (at[0] + 1, at[1] + 1), FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, text, at, FONT, 0.45, colour, 1, cv2.LINE_AA)
