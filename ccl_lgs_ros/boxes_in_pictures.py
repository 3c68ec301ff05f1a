# SPDX-License-Identifier: Apache-2.0
"""3D boxes drawn into photos: edges that the box itself hides are thin, labels stay in the picture and apart."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.lettering import Colour, line_height, text_width, write

Image = NDArray[Any]  # [H, W, 3] uint8

BOX_COLOUR = (255, 220, 40)
SHADE = (20, 20, 20)  # beside lines and under letters, so that they can be seen on any ground
NEAR = 0.05  # metres; lines are cut here, before they run behind the camera
FAR_AWAY = 1e4  # pixels; what lies farther outside of the picture is drawn as if it were there
LABEL, SMALLEST = 13, 9  # pixels: letters of a label, and where it would not fit otherwise
PAD = 3
# Corner i lies at (-, +) half a size along x by bit 0, y by bit 1, z by bit 2.
EDGES = tuple((a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit)


class DrawnBox(NamedTuple):
    """A box with what is written at it."""

    box: Box
    label: str = ""
    colour: Colour = BOX_COLOUR
    at: tuple[float, float] | None = None  # the pixel that the label is written above; None = the highest corner


class Patch(NamedTuple):
    """A rectangle of a picture that is taken, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: "Patch") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def with_box(
    image: Image,
    box: Box,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    label: str = "",
    colour: Colour = BOX_COLOUR,
) -> Image:
    """The image with the edges of a box, and a label at its highest visible corner."""
    return with_boxes(image, [DrawnBox(box, label, colour)], camera, world_from_camera)


def with_boxes(
    image: Image, boxes: Sequence[DrawnBox], camera: Camera, world_from_camera: NDArray[np.float64]
) -> Image:
    """The image with boxes; their labels are moved apart."""
    drawn = np.ascontiguousarray(image).copy()
    corners = [_corners(item.box, world_from_camera) for item in boxes]
    for item, points in zip(boxes, corners, strict=True):
        _draw_edges(drawn, item, points, camera, world_from_camera)
    taken: list[Patch] = []
    for item, points in zip(boxes, corners, strict=True):
        seen = camera.project(points[points[:, 2] > NEAR])
        if item.label and len(seen):
            taken.append(_draw_label(drawn, item, item.at or seen[seen[:, 1].argmin()], taken))
    return drawn


def hidden_edges(box: Box, viewer: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of EDGES [12] the box itself hides from a viewer at a point [3]: those that none of its seen sides has."""
    local = box.rotation.T @ (viewer - box.center)
    is_seen = np.stack([local < -box.size / 2, local > box.size / 2])  # [side -, +; axis]
    hidden = []
    for a, b in EDGES:
        across = [axis for axis in range(3) if (a >> axis & 1) == (b >> axis & 1)]
        hidden.append(not any(is_seen[a >> axis & 1, axis] for axis in across))
    return np.array(hidden)


def _corners(box: Box, world_from_camera: NDArray[np.float64]) -> NDArray[np.floating]:
    """The corners [8, 3] in the camera's frame."""
    unit = np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5
    return transform_points(invert_rigid(world_from_camera), box.center + (unit * box.size) @ box.rotation.T)


def _draw_edges(
    image: Image,
    item: DrawnBox,
    points: NDArray[np.floating],
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> None:
    is_hidden = hidden_edges(item.box, world_from_camera[:3, 3])
    for place in np.argsort(~is_hidden, kind="stable"):  # what is in front is drawn last
        ends = _before_camera(*points[list(EDGES[place])])
        if ends is None:
            continue
        pixels = np.clip(camera.project(ends) - 0.5, -FAR_AWAY, FAR_AWAY)
        start, end = ((round(float(x)), round(float(y))) for x, y in pixels)
        if is_hidden[place]:
            cv2.line(image, start, end, item.colour, 1, cv2.LINE_AA)
        else:
            cv2.line(image, start, end, SHADE, 4, cv2.LINE_AA)
            cv2.line(image, start, end, item.colour, 2, cv2.LINE_AA)


def _draw_label(image: Image, item: DrawnBox, at: Sequence[float], taken: Sequence[Patch]) -> Patch:
    """Write the label on a patch above a pixel, or at the nearest free place over or under it; returns where."""
    size = LABEL
    while size > SMALLEST and text_width(item.label, size) + 2 * PAD > image.shape[1]:
        size -= 1
    width, height = text_width(item.label, size) + 2 * PAD, line_height(size) + PAD
    last_column, last_row = max(image.shape[1] - width, 0), max(image.shape[0] - height, 0)
    left = int(np.clip(at[0] - width / 2, 0, last_column))
    wanted = np.clip(at[1] - height - PAD, 0, last_row)
    steps = (0, *(sign * step for step in range(1, 2 * len(taken) + 1) for sign in (1, -1)))
    tops = [int(np.clip(wanted + step * (height + 1), 0, last_row)) for step in steps]
    patches = [Patch(left, top, left + width, top + height) for top in tops]
    patch = next((p for p in patches if not any(p.meets(other) for other in taken)), patches[0])
    cv2.rectangle(image, patch[:2], (patch.right - 1, patch.bottom - 1), item.colour, cv2.FILLED)
    write(image, item.label, left + PAD, patch.top + PAD // 2, size, SHADE)
    return patch


def _before_camera(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """The part of a segment between points [3] that lies in front of the near plane."""
    if a[2] < NEAR and b[2] < NEAR:
        return None
    if a[2] < NEAR or b[2] < NEAR:
        crossing = a + (NEAR - a[2]) / (b[2] - a[2]) * (b - a)
        a, b = (crossing, b) if a[2] < NEAR else (a, crossing)
    return np.stack([a, b])
