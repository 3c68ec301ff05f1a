# SPDX-License-Identifier: Apache-2.0
"""Gaussians as the camera sees them: ellipses with a colour, forward and backward, one Gaussian at a time.

A splat is a row of 8 float32: pixel x and y of its centre; the coefficients xx, xy, yy and 1 of the polynomial in
the offset from the centre that is the base-2 logarithm of alpha; half its height in pixels; its depth.
Arithmetic is in double precision, as the cost per Gaussian is small beside that per pixel.
"""

import math

import numpy as np
from numba import njit

from ccl_lgs_ros.rendering import harmonics
from ccl_lgs_ros.rendering.limits import ALPHA_MIN, BLUR_2D, FOV_MARGIN, NEAR
from ccl_lgs_ros.rendering.workers import take_ticket

SPLAT_Z = 7
LOG2_E = 1.4426950408889634
BATCH = 256  # Gaussians to a ticket

basis = njit(harmonics.basis)


@njit
def rotation_of(q, out):
    """Write the rotation matrix [3, 3] of a quaternion wxyz of any length; return 1 / length, or 0."""
    norm = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    inverse = 1.0 / norm if norm > 0.0 else 0.0
    w, x, y, z = q[0] * inverse, q[1] * inverse, q[2] * inverse, q[3] * inverse
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return inverse


@njit
def clamped_slopes(x, y, z, pinhole):
    """x / z and y / z, held near the field of view, where the linearised projection still makes sense."""
    fx, fy, cx, cy, width, height = pinhole
    margin_x, margin_y = FOV_MARGIN * 0.5 * width / fx, FOV_MARGIN * 0.5 * height / fy
    u = min(max(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    v = min(max(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    return u, v


@njit
def footprint(quat, log_scale, view, u, v, z, pinhole, axes, turned, flat):
    """Project the three scaled axes of a Gaussian: `flat` [2, 3] pixels; return 1 / length of the quaternion.

    `axes` [3, 3] gets the rotation in the world, `turned` [3, 3] in the camera; flat @ flat.T is the covariance.
    """
    inverse = rotation_of(quat, axes)
    for c in range(3):
        for r in range(3):
            turned[r, c] = view[r, 0] * axes[0, c] + view[r, 1] * axes[1, c] + view[r, 2] * axes[2, c]
        scale = math.exp(log_scale[c])
        flat[0, c] = pinhole[0] / z * (turned[0, c] - u * turned[2, c]) * scale
        flat[1, c] = pinhole[1] / z * (turned[1, c] - v * turned[2, c]) * scale
    return inverse


@njit
def covariance_of(flat):
    """The entries xx, xy, yy of the blurred covariance of projected axes [2, 3]."""
    a = flat[0, 0] * flat[0, 0] + flat[0, 1] * flat[0, 1] + flat[0, 2] * flat[0, 2] + BLUR_2D
    b = flat[0, 0] * flat[1, 0] + flat[0, 1] * flat[1, 1] + flat[0, 2] * flat[1, 2]
    c = flat[1, 0] * flat[1, 0] + flat[1, 1] * flat[1, 1] + flat[1, 2] * flat[1, 2] + BLUR_2D
    return a, b, c


@njit
def in_camera(mean, view):
    """A point of the world in the camera."""
    x = view[0, 0] * mean[0] + view[0, 1] * mean[1] + view[0, 2] * mean[2] + view[0, 3]
    y = view[1, 0] * mean[0] + view[1, 1] * mean[1] + view[1, 2] * mean[2] + view[1, 3]
    z = view[2, 0] * mean[0] + view[2, 1] * mean[1] + view[2, 2] * mean[2] + view[2, 3]
    return x, y, z


@njit
def splat_of(mean, quat, log_scale, logit, view, pinhole, axes, turned, flat, splat):
    """Write one splat; return whether it reaches the image."""
    x, y, z = in_camera(mean, view)
    opacity = 1.0 / (1.0 + math.exp(-logit))
    if z < NEAR or opacity < ALPHA_MIN:
        return False
    u, v = clamped_slopes(x, y, z, pinhole)
    footprint(quat, log_scale, view, u, v, z, pinhole, axes, turned, flat)
    a, b, c = covariance_of(flat)
    determinant = a * c - b * b
    px, py = pinhole[0] * x / z + pinhole[2], pinhole[1] * y / z + pinhole[3]
    reach = math.sqrt(2.0 * math.log(opacity / ALPHA_MIN))
    half_width, half_height = reach * math.sqrt(a), reach * math.sqrt(c)
    if not (px + half_width > 0 and px - half_width < pinhole[4] and py + half_height > 0):
        return False
    if not (py - half_height < pinhole[5] and determinant > 0):
        return False
    splat[0], splat[1] = px, py
    splat[2] = -0.5 * LOG2_E * c / determinant
    splat[3] = LOG2_E * b / determinant
    splat[4] = -0.5 * LOG2_E * a / determinant
    splat[5] = math.log(opacity) * LOG2_E
    splat[6], splat[7] = half_height, z
    return True


@njit
def color_of(mean, sh, center, color):
    """Write the colour [3] that spherical harmonics show towards a camera at `center`, at least 0."""
    dx, dy, dz = mean[0] - center[0], mean[1] - center[1], mean[2] - center[2]
    norm = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)
    values = basis(dx / norm, dy / norm, dz / norm)
    for c in range(3):
        value = 0.5
        for s in range(sh.shape[0]):
            value += values[s] * sh[s, c]
        color[c] = max(value, 0.0)


@njit(nogil=True, cache=True)
def project(counter, means, quats, log_scales, logits, sh, view, center, pinhole, splats, shades, visible):
    """Write splats [N, 8], colour and depth [N, 4], and which reach the image [N]; rows that do not stay as they are."""
    n = means.shape[0]
    axes, turned, flat = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3))
    start = take_ticket(counter) * BATCH
    while start < n:
        for i in range(start, min(start + BATCH, n)):
            args = (view, pinhole, axes, turned, flat, splats[i])
            visible[i] = splat_of(means[i], quats[i], log_scales[i], logits[i], *args)
            if visible[i]:
                color_of(means[i], sh[i], center, shades[i])
                shades[i, 3] = splats[i, SPLAT_Z]
        start = take_ticket(counter) * BATCH
