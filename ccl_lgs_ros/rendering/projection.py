# SPDX-License-Identifier: Apache-2.0
"""Gaussians as the camera sees them: ellipses with a colour, forward and backward, one Gaussian at a time.

A splat is a row of 8 float32: pixel x and y of its centre; the coefficients xx, xy, yy and 1 of the polynomial in
the offset from the centre that is the base-2 logarithm of alpha; half its width and height in pixels.
Arithmetic is in double precision, as the cost per Gaussian is small beside that per pixel. Vectors are tuples: they
live in registers, where a view of an array would be counted by the runtime each time that it is passed on.
"""

import math

from ccl_lgs_ros.rendering import harmonics
from ccl_lgs_ros.rendering.compiled import inner, kernel
from ccl_lgs_ros.rendering.limits import ALPHA_MIN, BLUR_2D, FOV_MARGIN, NEAR
from ccl_lgs_ros.rendering.tiles import most_places, splat_at
from ccl_lgs_ros.rendering.workers import take_ticket

LOG2_E = 1.4426950408889634
LOG_ALPHA_MIN = math.log(ALPHA_MIN)
REACH_MAX = 1.001 * math.sqrt(-2.0 * LOG_ALPHA_MIN)  # standard deviations that an opaque splat reaches, and a little
BATCH = 256  # Gaussians to a ticket

basis = inner(harmonics.basis)


@inner
def dot(a, b):
    """The inner product of two vectors [3]."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inner
def axes_of(q):
    """The axes, three vectors [3], of a quaternion wxyz of any length, and 1 / length or 0."""
    norm = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    inverse = 1.0 / norm if norm > 0.0 else 0.0
    w, x, y, z = q[0] * inverse, q[1] * inverse, q[2] * inverse, q[3] * inverse
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    second = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    third = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    return first, second, third, inverse


@inner
def in_camera(point, view):
    """A point of the world in the camera."""
    return dot(view[0], point) + view[0][3], dot(view[1], point) + view[1][3], dot(view[2], point) + view[2][3]


@inner
def clamped_slopes(x, y, z, pinhole):
    """x / z and y / z, held near the field of view, where the linearised projection still makes sense."""
    fx, fy, cx, cy, width, height = pinhole
    margin_x, margin_y = FOV_MARGIN * 0.5 * width / fx, FOV_MARGIN * 0.5 * height / fy
    u = min(max(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    v = min(max(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    return u, v


@inner
def turned(axis, view):
    """A direction of the world in the camera."""
    return dot(view[0], axis), dot(view[1], axis), dot(view[2], axis)


@inner
def flattened(axis, scale, u, v, zoom_x, zoom_y):
    """The pixels [2] that an axis in the camera spans, by projection linearised at the slopes u, v."""
    return zoom_x * scale * (axis[0] - u * axis[2]), zoom_y * scale * (axis[1] - v * axis[2])


@inner
def covariance_of(p, q, r):
    """The entries xx, xy, yy of the blurred covariance of three projected axes [2]."""
    a = p[0] * p[0] + q[0] * q[0] + r[0] * r[0] + BLUR_2D
    b = p[0] * p[1] + q[0] * q[1] + r[0] * r[1]
    c = p[1] * p[1] + q[1] * q[1] + r[1] * r[1] + BLUR_2D
    return a, b, c


@inner
def is_beside(point, largest, pinhole):
    """Whether a Gaussian surely misses the image, by its place in the camera and its largest scale alone.

    Its covariance across is at most (zoom largest)^2 (1 + slope^2), and it ends where the opaquest one would.
    """
    x, y, z = point
    u, v = clamped_slopes(x, y, z, pinhole)
    zoom_x, zoom_y = pinhole[0] / z, pinhole[1] / z
    half_width = REACH_MAX * math.sqrt((zoom_x * largest) ** 2 * (1.0 + u * u) + BLUR_2D)
    half_height = REACH_MAX * math.sqrt((zoom_y * largest) ** 2 * (1.0 + v * v) + BLUR_2D)
    px, py = zoom_x * x + pinhole[2], zoom_y * y + pinhole[3]
    is_across = px + half_width > 0 and px - half_width < pinhole[4]
    return not (is_across and py + half_height > 0 and py - half_height < pinhole[5])


@inner
def splat_of(point, quat, scale, opacity, view, pinhole):
    """Whether a Gaussian, given its place in the camera, reaches the image, and its splat."""
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    x, y, z = point
    u, v = clamped_slopes(x, y, z, pinhole)
    zoom_x, zoom_y = pinhole[0] / z, pinhole[1] / z
    first, second, third, _ = axes_of(quat)
    a, b, c = covariance_of(
        flattened(turned(first, view), scale[0], u, v, zoom_x, zoom_y),
        flattened(turned(second, view), scale[1], u, v, zoom_x, zoom_y),
        flattened(turned(third, view), scale[2], u, v, zoom_x, zoom_y),
    )
    determinant = a * c - b * b
    px, py = zoom_x * x + pinhole[2], zoom_y * y + pinhole[3]
    log_opacity = math.log(opacity)
    reach = math.sqrt(max(2.0 * (log_opacity - LOG_ALPHA_MIN), 0.0))
    half_width, half_height = reach * math.sqrt(a), reach * math.sqrt(c)
    is_across = px + half_width > 0 and px - half_width < pinhole[4]
    is_down = py + half_height > 0 and py - half_height < pinhole[5]
    if not (is_across and is_down and determinant > 0):
        return False, nothing
    k = LOG2_E / determinant
    return True, (px, py, -0.5 * k * c, k * b, -0.5 * k * a, log_opacity * LOG2_E, half_width, half_height)


@inner
def direction_to(point, center):
    """The unit direction from `center` to a point, and 1 / distance."""
    dx, dy, dz = point[0] - center[0], point[1] - center[1], point[2] - center[2]
    inverse = 1.0 / max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)
    return dx * inverse, dy * inverse, dz * inverse, inverse


@inner
def opacity_of(logit):
    """The opacity of a logit."""
    return 1.0 / (1.0 + math.exp(-logit))


@kernel
def project(counter, parameters, view, center, pinhole, splats, shades, num_places):
    """Write splats [N, 8], colour and depth [N, 4], and how many tiles each may touch [N]; hidden rows stay.

    Args:
        parameters: means, quats, log_scales, logit_opacities, sh.
        view: camera_from_world as three rows of four; center: the camera's position; pinhole: fx fy cx cy w h.
        num_places: -1 where a Gaussian does not reach the image.
    """
    means, quats, log_scales, logits, sh = parameters
    n, width, height = means.shape[0], int(pinhole[4]), int(pinhole[5])
    start = take_ticket(counter) * BATCH
    while start < n:
        for i in range(start, min(start + BATCH, n)):
            num_places[i] = -1
            mean = (means[i, 0], means[i, 1], means[i, 2])
            point = in_camera(mean, view)
            if point[2] < NEAR:
                continue
            largest = math.exp(max(log_scales[i, 0], log_scales[i, 1], log_scales[i, 2]))
            if is_beside(point, largest, pinhole):
                continue
            opacity = opacity_of(logits[i])
            if opacity < ALPHA_MIN:
                continue
            quat = (quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
            scale = (math.exp(log_scales[i, 0]), math.exp(log_scales[i, 1]), math.exp(log_scales[i, 2]))
            is_visible, splat = splat_of(point, quat, scale, opacity, view, pinhole)
            if is_visible:
                for k in range(8):
                    splats[i, k] = splat[k]
                num_places[i] = most_places(splat_at(splats, i), width, height)
                shades[i, 3] = point[2]
                x, y, z, _ = direction_to(mean, center)
                values = basis(x, y, z)
                for c in range(3):
                    color = 0.5
                    for s in range(sh.shape[1]):
                        color += values[s] * sh[i, s, c]
                    shades[i, c] = max(color, 0.0)
        start = take_ticket(counter) * BATCH
