# SPDX-License-Identifier: Apache-2.0
"""The gradient of projection: from what blending says about a splat to the parameters of its Gaussian."""

import math

import numpy as np

from ccl_lgs_ros.rendering import harmonics
from ccl_lgs_ros.rendering.blending_backward import MOMENTS
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.lanes import WIDTH, load, prefetch, store
from ccl_lgs_ros.rendering.projection import (
    axes_of,
    basis,
    clamped_slopes,
    covariance_of,
    direction_to,
    flattened,
    in_camera,
    opacity_of,
    turned,
)
from ccl_lgs_ros.rendering.workers import take_ticket

BATCH = 64  # splats to a ticket
AHEAD = 2  # splats before which the gradients of one are fetched from memory

direction_gradient = inner(harmonics.direction_gradient)


@kernel
def splat_gradients(counter, lists, gradients, parameters, view, center, pinhole, wanted, out):
    """Sum the gradients of each splat's places and carry them back to its Gaussian.

    Args:
        lists: the Gaussian of each splat [M]; where its list begins and ends [M]; the lists of rows of `gradients`.
        gradients: [I, row_size].
        parameters: means, quats, log_scales, logit_opacities, sh.
        wanted: whether the shape's (means, quats, log_scales, opacities), the sh's and the features' gradients are.
        out: gradients of the parameters, as they are stored, and the features; zero on entry.
    """
    order, place_start, place_stop, places = lists
    means, quats, log_scales, logits, sh = parameters
    g_means, g_quats, g_log_scales, g_logits, g_sh, g_features = out
    size, flat = gradients.shape[1], gradients.reshape(-1)
    row, lobes = np.empty(size, np.float32), np.zeros(16)
    start = take_ticket(counter) * BATCH
    while start < order.shape[0]:
        for j in range(start, min(start + BATCH, order.shape[0])):
            i = order[j]
            row[:] = np.float32(0.0)
            ahead = min(j + AHEAD, order.shape[0] - 1)
            for at in range(place_start[ahead], place_stop[ahead]):
                prefetch(flat, places[at] * size)
                prefetch(flat, places[at] * size + size // 2)
            for at in range(place_start[j], place_stop[j]):
                place = places[at] * size
                for k in range(0, size, WIDTH):
                    store(row, k, load(row, k) + load(flat, place + k))
            if wanted[2]:
                for c in range(g_features.shape[1]):
                    g_features[i, c] = row[MOMENTS + 4 + c]
            mean = (means[i, 0], means[i, 1], means[i, 2])
            if wanted[1] or (wanted[0] and sh.shape[1] > 1):
                shade_gradient(i, mean, center, row, sh, lobes, wanted, g_means, g_sh)
            if wanted[0]:
                quat = (quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
                scale = (math.exp(log_scales[i, 0]), math.exp(log_scales[i, 1]), math.exp(log_scales[i, 2]))
                sums = (row[1], row[2], row[3], row[4], row[5], row[MOMENTS + 3])
                g_mean, g_quat, g_log_scale = shape_gradient(mean, quat, scale, view, pinhole, sums)
                for k in range(3):
                    g_means[i, k] += g_mean[k]
                    g_log_scales[i, k] = g_log_scale[k]
                for k in range(4):
                    g_quats[i, k] = g_quat[k]
                g_logits[i] = -row[0] * (1.0 - opacity_of(logits[i]))
        start = take_ticket(counter) * BATCH


@inner
def shade_gradient(i, mean, center, row, sh, lobes, wanted, g_means, g_sh):
    """Add the gradients of the colour of one Gaussian: in its coefficients, and in its position by their direction."""
    x, y, z, nearness = direction_to(mean, center)
    values = basis(x, y, z)
    for s in range(sh.shape[1]):
        lobes[s] = 0.0
    for c in range(3):
        color = 0.5
        for s in range(sh.shape[1]):
            color += values[s] * sh[i, s, c]
        if color > 0.0:
            for s in range(sh.shape[1]):
                lobes[s] += sh[i, s, c] * row[MOMENTS + c]
                if wanted[1]:
                    g_sh[i, s, c] = values[s] * row[MOMENTS + c]
    if wanted[0] and sh.shape[1] > 1:
        gx, gy, gz = direction_gradient(x, y, z, lobes)
        radial = gx * x + gy * y + gz * z
        g_means[i, 0] += (gx - radial * x) * nearness
        g_means[i, 1] += (gy - radial * y) * nearness
        g_means[i, 2] += (gz - radial * z) * nearness


@inner
def shape_gradient(mean, quat, scale, view, pinhole, sums):
    """The gradients of position, rotation and size of one Gaussian.

    `sums` are the moments dx, dy, dx dx, dx dy, dy dy and the gradient of its depth.
    """
    x, y, z = in_camera(mean, view)
    u, v = clamped_slopes(x, y, z, pinhole)
    nearness = 1.0 / z
    zoom_x, zoom_y = pinhole[0] * nearness, pinhole[1] * nearness
    first, second, third, inverse = axes_of(quat)
    t0, t1, t2 = turned(first, view), turned(second, view), turned(third, view)
    f0 = flattened(t0, scale[0], u, v, zoom_x, zoom_y)
    f1 = flattened(t1, scale[1], u, v, zoom_x, zoom_y)
    f2 = flattened(t2, scale[2], u, v, zoom_x, zoom_y)
    g_px, g_py, g = covariance_gradient(covariance_of(f0, f1, f2), sums)
    zoom = (zoom_x, zoom_y, u, v)
    g_t0, g_s0 = axis_gradient(f0, scale[0], zoom, g)
    g_t1, g_s1 = axis_gradient(f1, scale[1], zoom, g)
    g_t2, g_s2 = axis_gradient(f2, scale[2], zoom, g)
    gx, gy = g_px * zoom_x, g_py * zoom_y
    gz = sums[5] - (gx * x + gy * y + g_s0 + g_s1 + g_s2) * nearness
    # Where a slope was held at the edge of the view it does not move with the Gaussian.
    if u == x / z:
        g_u = -(g_t0[0] * t0[2] + g_t1[0] * t1[2] + g_t2[0] * t2[2]) * nearness
        gx += g_u
        gz -= g_u * u
    if v == y / z:
        g_v = -(g_t0[1] * t0[2] + g_t1[1] * t1[2] + g_t2[1] * t2[2]) * nearness
        gy += g_v
        gz -= g_v * v
    g_mean = turned_back((gx, gy, gz), view)
    g_axes = (turned_back(g_t0, view), turned_back(g_t1, view), turned_back(g_t2, view))
    return g_mean, quat_gradient(quat, inverse, g_axes), (g_s0, g_s1, g_s2)


@inner
def turned_back(direction, view):
    """A direction of the camera in the world."""
    x, y, z = direction
    return (
        view[0][0] * x + view[1][0] * y + view[2][0] * z,
        view[0][1] * x + view[1][1] * y + view[2][1] * z,
        view[0][2] * x + view[1][2] * y + view[2][2] * z,
    )


@inner
def axis_gradient(flat, scale, zoom, g):
    """The gradient in an axis in the camera [3], and in the logarithm of its length, given that in the covariance."""
    zoom_x, zoom_y, u, v = zoom
    g_x, g_y = 2.0 * (g[0] * flat[0] + g[1] * flat[1]), 2.0 * (g[1] * flat[0] + g[2] * flat[1])
    along = g_x * flat[0] + g_y * flat[1]
    g_x, g_y = g_x * zoom_x * scale, g_y * zoom_y * scale
    return (g_x, g_y, -(g_x * u + g_y * v)), along


@inner
def covariance_gradient(covariance, sums):
    """The gradients in the pixel position, x and y, and in the covariance's entries (xx, xy, yy) as a matrix."""
    a, b, c = covariance
    determinant = a * c - b * b
    xx, xy, yy = c / determinant, -b / determinant, a / determinant
    g_xx, g_xy, g_yy = 0.5 * sums[2], 0.5 * sums[3], 0.5 * sums[4]
    # The covariance's gradient is -inverse @ G @ inverse, with G that of the inverse as a symmetric matrix.
    left_00, left_01 = xx * g_xx + xy * g_xy, xx * g_xy + xy * g_yy
    left_10, left_11 = xy * g_xx + yy * g_xy, xy * g_xy + yy * g_yy
    g = (-(left_00 * xx + left_01 * xy), -(left_00 * xy + left_01 * yy), -(left_10 * xy + left_11 * yy))
    return -(xx * sums[0] + xy * sums[1]), -(xy * sums[0] + yy * sums[1]), g


@inner
def quat_gradient(quat, inverse, g):
    """The gradient in a quaternion of any length, given that in its axes, three vectors [3]."""
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    a, b, c = g
    gw = 2.0 * (x * (b[2] - c[1]) + y * (c[0] - a[2]) + z * (a[1] - b[0]))
    gx = 2.0 * (-2.0 * x * (b[1] + c[2]) + y * (b[0] + a[1]) + z * (c[0] + a[2]) + w * (b[2] - c[1]))
    gy = 2.0 * (-2.0 * y * (a[0] + c[2]) + x * (b[0] + a[1]) + z * (c[1] + b[2]) + w * (c[0] - a[2]))
    gz = 2.0 * (-2.0 * z * (a[0] + b[1]) + x * (c[0] + a[2]) + y * (c[1] + b[2]) + w * (a[1] - b[0]))
    radial = gw * w + gx * x + gy * y + gz * z
    return (
        (gw - radial * w) * inverse,
        (gx - radial * x) * inverse,
        (gy - radial * y) * inverse,
        (gz - radial * z) * inverse,
    )
