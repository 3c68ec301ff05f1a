# SPDX-License-Identifier: Apache-2.0
"""What a click means: the instance whose box the ray from the eye enters first."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box, Instance


def struck(
    instances: Sequence[Instance], origin: NDArray[np.floating], direction: NDArray[np.floating]
) -> Instance | None:
    """The instance that a ray from `origin` [3] along `direction` [3] meets first; None where it meets none."""
    distance = [entry_distance(item.box, origin, direction) for item in instances]
    nearest = int(np.argmin(distance)) if distance else -1
    return instances[nearest] if distance and np.isfinite(distance[nearest]) else None


def entry_distance(box: Box, origin: NDArray[np.floating], direction: NDArray[np.floating]) -> float:
    """How many times `direction` a ray goes before it is in a box: 0 where it starts there, infinite if it never is."""
    start, way = (origin - box.center) @ box.rotation, direction @ box.rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.stack([(-box.size / 2.0 - start) / way, (box.size / 2.0 - start) / way])
    # Along a face, where 0 is divided by 0, the ray is between the two planes all the way.
    enters = np.nan_to_num(crossings.min(axis=0), nan=-np.inf, neginf=-np.inf, posinf=np.inf).max()
    leaves = np.nan_to_num(crossings.max(axis=0), nan=np.inf, neginf=-np.inf, posinf=np.inf).min()
    return float(max(enters, 0.0)) if leaves >= max(enters, 0.0) else float("inf")
