# SPDX-License-Identifier: Apache-2.0
"""The robot that goes where the map says, as far as planning in a plane needs it."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Robot:
    """A body that stands on the floor: a circle around its base, or a polygon."""

    radius: float  # metres, of the circle
    outline: NDArray[np.float64]  # [n, 2] metres, in the frame of the base; [0, 2] = the circle
    sensor_height: float  # metres above the floor

    @property
    def inner_radius(self) -> float:
        """Of the largest circle around the base that the body fills, in metres."""
        if not len(self.outline):
            return self.radius
        edge = np.roll(self.outline, -1, axis=0) - self.outline
        along = np.clip(-(self.outline * edge).sum(1) / np.maximum((edge**2).sum(1), 1e-12), 0.0, 1.0)
        return float(np.linalg.norm(self.outline + along[:, None] * edge, axis=1).min())


def outline_from_text(text: str) -> NDArray[np.float64]:
    """The corners [n, 2] of a footprint as nav2 writes it, `[[0.3, 0.2], [0.3, -0.2], [-0.3, 0]]`; '' has none.

    Raises:
        ValueError: if it is no list of at least three pairs of numbers.
    """
    if text.strip() in ("", "[]"):
        return np.zeros((0, 2))
    try:
        corners = np.array([(float(x), float(y)) for x, y in json.loads(text)])
    except (ValueError, TypeError):
        corners = np.zeros((0, 2))
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"expected [[x, y], [x, y], [x, y] ...] in metres, got '{text}'")
    return corners
