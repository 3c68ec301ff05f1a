# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms as 4x4 arrays that read as multiplication: world_from_camera @ points_camera.

Quaternions are wxyz. numpy and scipy only.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

# Turns OpenGL camera axes (x right, y up, z back) into optical axes (x right, y down, z forward), and back.
OPTICAL_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
RIGID_TOLERANCE = 1e-4  # of a rotation's products of rows; single precision comes within a hundredth of it


def rotation_from_quat(quat_wxyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rotation matrix [3, 3] of a quaternion wxyz, which is normalised first.

    Raises:
        ValueError: if the quaternion has no direction (zero or not finite).
    """
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    if quat.shape != (4,) or not np.isfinite(quat).all() or np.linalg.norm(quat) == 0:
        raise ValueError(f"quat: expected 4 finite numbers wxyz, not all zero, got {quat_wxyz}")
    return Rotation.from_quat(np.roll(quat, -1)).as_matrix()


def rigids(quats_wxyz: NDArray[np.floating], translations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Transforms [N, 4, 4] of quaternions [N, 4] wxyz, which are normalised first, and translations [N, 3]."""
    matrices = np.tile(np.eye(4), (len(translations), 1, 1))
    if len(translations):
        matrices[:, :3, :3] = Rotation.from_quat(np.roll(quats_wxyz, -1, axis=1)).as_matrix()
    matrices[:, :3, 3] = translations
    return matrices


def quat_from_rotation(rotation: NDArray[np.floating]) -> NDArray[np.float64]:
    """The unit quaternion wxyz, w >= 0, of a rotation matrix [3, 3]."""
    quat = np.roll(Rotation.from_matrix(rotation).as_quat(), 1)
    return -quat if quat[0] < 0 else quat


def rigid(rotation: NDArray[np.floating], translation: NDArray[np.floating]) -> NDArray[np.float64]:
    """The transform [4, 4] that rotates by [3, 3], then moves by [3] metres."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def check_rigid(transform: NDArray[np.floating]) -> None:
    """Raises ValueError where a transform is not [4, 4], finite, and a rotation with a translation."""
    transform = np.asarray(transform)
    if transform.shape != (4, 4) or not np.isfinite(transform).all():
        raise ValueError(f"expected a finite [4, 4] transform, got {transform}")
    rotation = transform[:3, :3]
    is_rotation = np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID_TOLERANCE) and np.linalg.det(rotation) > 0
    if not is_rotation or not np.allclose(transform[3], (0, 0, 0, 1)):
        raise ValueError(f"expected a rotation and a translation, got {transform}")


def invert_rigid(transform: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inverse of a rigid transform [4, 4]: b_from_a of a_from_b."""
    rotation = transform[:3, :3].T
    return rigid(rotation, -rotation @ transform[:3, 3])


def transform_points(transform: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points [..., 3] carried by a transform [4, 4]."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def interpolate_rigid(
    before: NDArray[np.floating], after: NDArray[np.floating], fraction: float
) -> NDArray[np.float64]:
    """The pose between two, linear in translation and spherical in rotation; fraction in [0, 1]."""
    rotations = Rotation.from_matrix(np.stack([before[:3, :3], after[:3, :3]]))
    rotation = Slerp([0.0, 1.0], rotations)(fraction).as_matrix()
    return rigid(rotation, (1.0 - fraction) * before[:3, 3] + fraction * after[:3, 3])


def interpolate_rigids(
    before: NDArray[np.floating], after: NDArray[np.floating], fractions: NDArray[np.floating]
) -> NDArray[np.float64]:
    """As `interpolate_rigid`, for many pairs [N, 4, 4] at once, each with its own fraction [N]."""
    if not len(before):
        return np.zeros((0, 4, 4))
    turn = Rotation.from_matrix(np.swapaxes(before[:, :3, :3], 1, 2) @ after[:, :3, :3]).as_rotvec()
    between = np.tile(np.eye(4), (len(before), 1, 1))
    between[:, :3, :3] = before[:, :3, :3] @ Rotation.from_rotvec(fractions[:, None] * turn).as_matrix()
    between[:, :3, 3] = before[:, :3, 3] + fractions[:, None] * (after[:, :3, 3] - before[:, :3, 3])
    return between


def rotation_angle(transform: NDArray[np.floating]) -> float:
    """How far a transform [4, 4] turns, in radians, in [0, pi]."""
    return float(Rotation.from_matrix(transform[:3, :3]).magnitude())


def level_axes(up: NDArray[np.floating]) -> NDArray[np.float64]:
    """A right-handed frame [3, 3] as rows: two directions on the ground, then up. For up = +z it is x, y, z."""
    z = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    helper = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = helper - z * (helper @ z)
    x /= np.linalg.norm(x)
    y = [z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]]
    return np.array([x, y, z])
