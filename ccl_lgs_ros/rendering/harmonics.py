# SPDX-License-Identifier: Apache-2.0
"""Real spherical harmonics to degree 3 in the order and with the signs of 3DGS.

Source: 3D Gaussian Splatting (Kerbl et al., 2023), whose .ply files store coefficients of this basis.
"""

from typing import Any

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C20, C21, C22 = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
C30, C31, C32, C33, C34 = (
    0.5900435899266435,
    2.890611442640554,
    0.4570457994644658,
    0.3731763325901154,
    1.445305721320277,
)


def basis(x: Any, y: Any, z: Any) -> tuple:
    """The 16 basis functions in a unit direction; numbers, arrays or tensors."""
    xx, yy, zz = x * x, y * y, z * z
    return (
        C0 + 0.0 * x,
        -C1 * y,
        C1 * z,
        -C1 * x,
        C20 * x * y,
        -C20 * y * z,
        C21 * (2.0 * zz - xx - yy),
        -C20 * x * z,
        C22 * (xx - yy),
        -C30 * y * (3.0 * xx - yy),
        C31 * x * y * z,
        -C32 * y * (4.0 * zz - xx - yy),
        C33 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy),
        -C32 * x * (4.0 * zz - xx - yy),
        C34 * z * (xx - yy),
        -C30 * x * (xx - 3.0 * yy),
    )


def direction_gradient(x: Any, y: Any, z: Any, g: Any) -> tuple:
    """The gradient in (x, y, z) of the sum over the basis functions weighted by g [16]."""
    xx, yy, zz = x * x, y * y, z * z
    gx = -C1 * g[3] + C20 * (y * g[4] - z * g[7]) - 2.0 * C21 * x * g[6] + 2.0 * C22 * x * g[8]
    gx += -6.0 * C30 * x * y * g[9] + C31 * y * z * g[10] + 2.0 * C32 * x * y * g[11] - 6.0 * C33 * x * z * g[12]
    gx += -C32 * (4.0 * zz - 3.0 * xx - yy) * g[13] + 2.0 * C34 * x * z * g[14] - 3.0 * C30 * (xx - yy) * g[15]
    gy = -C1 * g[1] + C20 * (x * g[4] - z * g[5]) - 2.0 * C21 * y * g[6] - 2.0 * C22 * y * g[8]
    gy += -3.0 * C30 * (xx - yy) * g[9] + C31 * x * z * g[10] - C32 * (4.0 * zz - xx - 3.0 * yy) * g[11]
    gy += -6.0 * C33 * y * z * g[12] + 2.0 * C32 * x * y * g[13] - 2.0 * C34 * y * z * g[14] + 6.0 * C30 * x * y * g[15]
    gz = C1 * g[2] - C20 * (y * g[5] + x * g[7]) + 4.0 * C21 * z * g[6]
    gz += C31 * x * y * g[10] - 8.0 * C32 * z * (y * g[11] + x * g[13])
    gz += C33 * (6.0 * zz - 3.0 * xx - 3.0 * yy) * g[12] + C34 * (xx - yy) * g[14]
    return gx, gy, gz
