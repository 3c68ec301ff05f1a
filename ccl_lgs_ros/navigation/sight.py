# SPDX-License-Identifier: Apache-2.0
"""What a sensor over the floor can see of a thing, past everything that the map holds."""

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box, Instance
from ccl_lgs_ros.navigation.columns import SLICE, Columns

STEP = SLICE / 2  # metres between the places of a ray that are looked at
OWN_MARGIN = 0.05  # metres around the box of a thing: what has its middle there is the thing itself
START = 0.1  # metres from the sensor, which is in nobody's way


def is_in_sight(instance: Instance, sensors: NDArray[np.floating], columns: Columns) -> NDArray[np.bool_]:
    """[n] whether a thing shows to sensors [n, 3] in the world: one of its middle, its top and its seen surface."""
    box, up = instance.box, columns.world_from_grid[:3, 2]
    targets = [box.center, box.center + 0.5 * box.size[2] * up]
    if instance.surface_point is not None:
        targets.append(instance.surface_point)
    seen = np.zeros(len(sensors), bool)
    for target in targets:
        left = np.flatnonzero(~seen)
        seen[left] = _reaches(sensors[left], target, box, columns)
    return seen


def _reaches(
    sensors: NDArray[np.floating], target: NDArray[np.floating], box: Box, columns: Columns
) -> NDArray[np.bool_]:
    """[n] whether nothing is on the way from sensors [n, 3] to a target [3], but for what the box holds."""
    if not len(sensors):
        return np.zeros(0, bool)
    away = target - sensors
    length = np.linalg.norm(away, axis=1)
    steps = np.arange(START, length.max(), STEP)
    points = sensors[:, None] + away[:, None] * (steps / length[:, None])[..., None]  # [n, s, 3]
    local = np.abs((columns.middles_of(points) - box.center) @ box.rotation)
    is_own = (local <= box.size / 2 + OWN_MARGIN).all(-1)
    is_before = steps < length[:, None]
    return ~(columns.hold(points) & is_before & ~is_own).any(1)
