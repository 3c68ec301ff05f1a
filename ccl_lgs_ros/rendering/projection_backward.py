# SPDX-License-Identifier: Apache-2.0
"""The gradient of projection: from what blending says about a splat to the parameters of its Gaussian."""

import math

import numpy as np
from numba import njit

from ccl_lgs_ros.rendering import harmonics
from ccl_lgs_ros.rendering.blending_backward import MOMENTS
from ccl_lgs_ros.rendering.projection import basis, clamped_slopes, covariance_of, footprint, in_camera
from ccl_lgs_ros.rendering.workers import take_ticket

BATCH = 64  # splats to a ticket

_direction_gradient = njit(harmonics.direction_gradient)


@njit(nogil=True, cache=True)
def splat_gradients(counter, order, place_start, places, gradients, parameters, view, center, pinhole, wanted, out):
    """Sum the gradients of each splat's places and carry them back to its Gaussian.

    Args:
        order: [M] the Gaussian of each splat.
        place_start, places: where each splat's rows of `gradients` [I, 6 + P] are.
        parameters: means, quats, log_scales, logit_opacities, sh.
        wanted: whether the shape's (means, quats, log_scales, opacities), the sh's and the features' gradients are.
        out: gradients of the parameters and the features, zero on entry.
    """
    means, quats, log_scales, logits, sh = parameters
    g_means, g_quats, g_log_scales, g_logits, g_sh, g_features = out
    row = np.empty(gradients.shape[1], np.float64)
    work = np.zeros((6, 3, 3))
    lobes = np.empty(16)
    start = take_ticket(counter) * BATCH
    while start < order.shape[0]:
        for j in range(start, min(start + BATCH, order.shape[0])):
            i = order[j]
            row[:] = 0.0
            for at in range(place_start[j], place_start[j + 1]):
                for k in range(row.shape[0]):
                    row[k] += gradients[places[at], k]
            if wanted[2]:
                for c in range(g_features.shape[1]):
                    g_features[i, c] = row[MOMENTS + 4 + c]
            if wanted[0] or wanted[1]:
                shade = row[MOMENTS : MOMENTS + 4]
                shade_gradient(means[i], sh[i], center, shade, lobes, wanted[0], g_means[i], g_sh[i])
            if wanted[0]:
                opacity = 1.0 / (1.0 + math.exp(-logits[i]))
                g_logits[i] = -row[0] * (1.0 - opacity)
                shape = (means[i], quats[i], log_scales[i], view, pinhole)
                shape_gradient(shape, row, work, g_means[i], g_quats[i], g_log_scales[i])
        start = take_ticket(counter) * BATCH


@njit
def shade_gradient(mean, sh, center, g, lobes, is_shape_wanted, g_mean, g_sh):
    """Add the gradient of the colour of one Gaussian, given that in the colour, g [3]."""
    dx, dy, dz = mean[0] - center[0], mean[1] - center[1], mean[2] - center[2]
    norm = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)
    dx, dy, dz = dx / norm, dy / norm, dz / norm
    values = basis(dx, dy, dz)
    lobes[:] = 0.0
    for c in range(3):
        color = 0.5
        for s in range(sh.shape[0]):
            color += values[s] * sh[s, c]
        if color <= 0.0:
            continue
        for s in range(sh.shape[0]):
            if g_sh.shape[0] > 0:
                g_sh[s, c] = values[s] * g[c]
            lobes[s] += sh[s, c] * g[c]
    if is_shape_wanted and sh.shape[0] > 1:
        gx, gy, gz = _direction_gradient(dx, dy, dz, lobes)
        radial = gx * dx + gy * dy + gz * dz
        g_mean[0] += (gx - radial * dx) / norm
        g_mean[1] += (gy - radial * dy) / norm
        g_mean[2] += (gz - radial * dz) / norm


@njit
def shape_gradient(shape, row, work, g_mean, g_quat, g_log_scale):
    """Add the gradient of position, rotation and size of one Gaussian."""
    mean, quat, log_scale, view, pinhole = shape
    axes, turned, flat, g_flat, g_turned, g_axes = work
    fx, fy = pinhole[0], pinhole[1]
    x, y, z = in_camera(mean, view)
    u, v = clamped_slopes(x, y, z, pinhole)
    inverse = footprint(quat, log_scale, view, u, v, z, pinhole, axes, turned, flat)
    a, b, c = covariance_of(flat)
    g_px, g_py = flat_gradient(flat, a, b, c, row, g_flat)
    gx, gy, gz = g_px * fx / z, g_py * fy / z, -(g_px * fx * x + g_py * fy * y) / (z * z) + row[MOMENTS + 3]
    g_u, g_v = 0.0, 0.0
    for k in range(3):
        scale = math.exp(log_scale[k])
        g_0, g_1 = g_flat[0, k] * fx / z, g_flat[1, k] * fy / z
        g_turned[0, k], g_turned[1, k] = g_0 * scale, g_1 * scale
        g_turned[2, k] = -(g_0 * u + g_1 * v) * scale
        g_u -= g_0 * scale * turned[2, k]
        g_v -= g_1 * scale * turned[2, k]
        along = g_flat[0, k] * flat[0, k] + g_flat[1, k] * flat[1, k]
        g_log_scale[k] = along
        gz -= along / z
    # Where the slope was held at the edge of the view it does not move with the Gaussian.
    if u == x / z:
        gx += g_u / z
        gz -= g_u * x / (z * z)
    if v == y / z:
        gy += g_v / z
        gz -= g_v * y / (z * z)
    for k in range(3):
        g_mean[k] += view[0, k] * gx + view[1, k] * gy + view[2, k] * gz
        for c_ in range(3):
            g_axes[k, c_] = view[0, k] * g_turned[0, c_] + view[1, k] * g_turned[1, c_] + view[2, k] * g_turned[2, c_]
    quat_gradient(quat, inverse, g_axes, g_quat)


@njit
def flat_gradient(flat, a, b, c, row, g_flat):
    """Write the gradient in the projected axes; return that in the pixel position."""
    determinant = a * c - b * b
    xx, xy, yy = c / determinant, -b / determinant, a / determinant
    g_xx, g_xy, g_yy = 0.5 * row[3], 0.5 * row[4], 0.5 * row[5]
    # The covariance's gradient is -inverse @ G @ inverse, with G that of the inverse as a symmetric matrix.
    left_00, left_01 = xx * g_xx + xy * g_xy, xx * g_xy + xy * g_yy
    left_10, left_11 = xy * g_xx + yy * g_xy, xy * g_xy + yy * g_yy
    g_a = -(left_00 * xx + left_01 * xy)
    g_b = -(left_00 * xy + left_01 * yy)
    g_c = -(left_10 * xy + left_11 * yy)
    for k in range(3):
        g_flat[0, k] = 2.0 * (g_a * flat[0, k] + g_b * flat[1, k])
        g_flat[1, k] = 2.0 * (g_b * flat[0, k] + g_c * flat[1, k])
    return -(xx * row[1] + xy * row[2]), -(xy * row[1] + yy * row[2])


@njit
def quat_gradient(quat, inverse, g, g_quat):
    """Write the gradient in a quaternion of any length, given that in its rotation matrix, g [3, 3]."""
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    gw = 2.0 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    gx = 2.0 * (-2.0 * x * (g[1, 1] + g[2, 2]) + y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]))
    gx += 2.0 * w * (g[2, 1] - g[1, 2])
    gy = 2.0 * (-2.0 * y * (g[0, 0] + g[2, 2]) + x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]))
    gy += 2.0 * w * (g[0, 2] - g[2, 0])
    gz = 2.0 * (-2.0 * z * (g[0, 0] + g[1, 1]) + x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]))
    gz += 2.0 * w * (g[1, 0] - g[0, 1])
    radial = gw * w + gx * x + gy * y + gz * z
    g_quat[0] = (gw - radial * w) * inverse
    g_quat[1] = (gx - radial * x) * inverse
    g_quat[2] = (gy - radial * y) * inverse
    g_quat[3] = (gz - radial * z) * inverse
