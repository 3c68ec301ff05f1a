# SPDX-License-Identifier: Apache-2.0
"""A line of the keyframe journal that gives keyframes better poses, as a loop closure finds them. No torch.

{"corrected": {"12": [[...]]}}     by keyframe id; OpenGL's axes, as everywhere in these files
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL, check_rigid

KEY = "corrected"


def is_correction(line: object) -> bool:
    """Whether a line of the journal moves keyframes, rather than being one."""
    return isinstance(line, dict) and KEY in line


def correction_frame(world_from_camera_of: Mapping[int, NDArray[np.float64]]) -> dict:
    """The line that gives keyframes their poses [4, 4]."""
    return {KEY: {str(id): (pose @ OPTICAL_FROM_OPENGL).tolist() for id, pose in world_from_camera_of.items()}}


def correction_of(line: dict, source: Path) -> dict[int, NDArray[np.float64]]:
    """The poses [4, 4] by keyframe id that a line gives.

    Raises:
        MapError: naming the source, if it is damaged.
    """
    try:
        poses = {
            int(id): np.array(matrix, np.float64).reshape(4, 4) @ OPTICAL_FROM_OPENGL
            for id, matrix in line[KEY].items()
        }
        for id, pose in poses.items():
            check_rigid(pose)
            if id < 0:
                raise ValueError(f"there is no keyframe {id}")
    except (AttributeError, TypeError, ValueError) as error:
        raise MapError(f"{source} holds damaged corrections ({error}); restore it from a copy") from error
    return poses
