# SPDX-License-Identifier: Apache-2.0
"""Draws Gaussians on the CPU, with gradients, by compiled kernels on every core."""

from functools import cached_property
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.rendering.inputs import check_inputs, check_labels
from ccl_lgs_ros.structures import Gaussians, Rendering, Votes


class NumbaRasterizer:
    """Draws in tiles of 16x16 pixels, 16 pixels to an instruction; the same input always gives the same output.

    The first use on a machine compiles for some seconds and keeps the result on disk.
    """

    @staticmethod
    def is_available() -> str:
        """Why this rasterizer does not work here, in a sentence; empty where it does."""
        return "" if find_spec("numba") else "numba is not installed; get it with: pip install numba"

    @cached_property
    def _crew(self):
        from ccl_lgs_ros.rendering.workers import Crew

        return Crew()

    def render(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        features: Tensor | None = None,  # [N, C]
    ) -> Rendering:
        """One view, differentiable in every Gaussian parameter and in the features.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        from ccl_lgs_ros.rendering.drawing import Draw, View

        check_inputs(gaussians, world_from_camera, features, "cpu")
        if features is None:
            features = gaussians.means.new_zeros(len(gaussians), 0)
        tensors = [tensor.float() for tensor in (*gaussians.tensors().values(), features)]
        view = View.of(camera, world_from_camera)
        color, depth, alpha, blended, is_visible = Draw.apply(self._crew, view, *tensors)
        return Rendering(color=color, depth=depth, alpha=alpha, features=blended, is_visible=is_visible)

    def vote(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        labels: Tensor,  # [H, W] int32, -1 none
        *,
        most: int = 0,
    ) -> Votes:
        """The rendering weights of one view summed per Gaussian and label, at about the cost of drawing it.

        Args:
            most: Gaussians that count in a pixel, as in Rasterizer.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        from ccl_lgs_ros.rendering.drawing import View, as_arrays
        from ccl_lgs_ros.rendering.tally import tally

        check_inputs(gaussians, world_from_camera, None, "cpu")
        check_labels(labels, camera)
        parameters = as_arrays(tuple(gaussians.tensors().values()))
        values = np.ascontiguousarray(labels.numpy(), dtype=np.int32)
        return tally(self._crew, parameters, View.of(camera, world_from_camera), values, most)
