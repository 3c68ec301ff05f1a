# SPDX-License-Identifier: Apache-2.0
"""The numba kernels joined to a picture, and to an autograd function."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.rendering.blending import PIXELS, draw_tiles
from ccl_lgs_ros.rendering.blending_backward import MOMENTS, tile_gradients
from ccl_lgs_ros.rendering.lanes import WIDTH
from ccl_lgs_ros.rendering.projection import SPLAT_Z, project
from ccl_lgs_ros.rendering.projection_backward import splat_gradients
from ccl_lgs_ros.rendering.tiles import bin_splats, drawing_order, gather
from ccl_lgs_ros.rendering.workers import Crew

Array = NDArray[np.float32]
STEPS = np.arange(WIDTH, dtype=np.float32)
CHANNEL_GROUP = 4  # kernels handle channels in fours: colour and depth first, then features


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A camera somewhere in the world, as the kernels want it."""

    view: tuple[tuple[float, ...], ...]  # camera_from_world: three rows of four
    center: tuple[float, ...]  # [3] metres, world
    pinhole: tuple[float, ...]  # fx fy cx cy width height
    width: int
    height: int

    @staticmethod
    def of(camera: Camera, world_from_camera: NDArray[np.float64]) -> "View":
        """The view of a camera at a pose."""
        pose = np.asarray(world_from_camera, dtype=np.float64)
        pinhole = [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]
        return View(
            view=tuple(tuple(row) for row in invert_rigid(pose)[:3].tolist()),
            center=tuple(pose[:3, 3].tolist()),
            pinhole=tuple(float(number) for number in pinhole),
            width=camera.width,
            height=camera.height,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Splats:
    """The Gaussians that reach an image, front to back, and the tiles that they touch."""

    order: NDArray[np.int64]  # [M] the Gaussian of each
    splats: Array  # [M, 8], see projection.py
    channels: Array  # [M, P] colour, depth, features, zeros
    tile_start: NDArray[np.int64]  # [tiles + 1]
    members: NDArray[np.int32]  # [I] splats by tile
    place_start: NDArray[np.int64]  # [M + 1]
    places: NDArray[np.int32]  # [I] places in `members` by splat
    visible: NDArray[np.bool_]  # [N]
    parameters: tuple[Array, ...]  # of the Gaussians: means, quats, scales, opacities, sh


def prepare(crew: Crew, parameters: tuple[Array, ...], features: Array, view: View) -> Splats:
    """Project Gaussians, given as stored, sort them by depth and into tiles."""
    means, quats, log_scales, logits, sh = parameters
    activated: tuple[Array, ...] = (means, quats, np.exp(log_scales), _sigmoid(logits), sh)
    n, c = features.shape
    splats, shades, visible = np.empty((n, 8), np.float32), np.empty((n, 4), np.float32), np.zeros(n, np.bool_)
    crew.run(project, activated, view.view, view.center, view.pinhole, splats, shades, visible)
    order = drawing_order(visible, np.ascontiguousarray(splats[:, SPLAT_Z]))
    m, p = len(order), CHANNEL_GROUP * (1 + -(-c // CHANNEL_GROUP))
    sorted_splats, channels = np.empty((m, 8), np.float32), np.empty((m, p), np.float32)
    counts = np.empty(m, np.int64)
    size = (view.width, view.height)
    crew.run(gather, order, splats, shades, features, sorted_splats, channels, counts, *size)
    tile_start, members, place_start, places = bin_splats(sorted_splats, counts, *size)
    return Splats(
        order=order,
        splats=sorted_splats,
        channels=channels,
        tile_start=tile_start,
        members=members,
        place_start=place_start,
        places=places,
        visible=visible,
        parameters=activated,
    )


def _sigmoid(logits: Array) -> Array:
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that is meant
        return np.reciprocal(1.0 + np.exp(-logits), dtype=np.float32)


def as_arrays(tensors: tuple[Tensor, ...]) -> tuple[Array, ...]:
    """Tensors on the CPU as contiguous float32 arrays, without a copy where they are."""
    return tuple(np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32) for tensor in tensors)


class Draw(torch.autograd.Function):
    """Colour [H, W, 3], depth [H, W], alpha [H, W], features [H, W, C] and visibility [N] of Gaussians in a view."""

    @staticmethod
    def forward(ctx, crew: Crew, view: View, *tensors: Tensor):
        """Draw; `tensors` are means, quats, log_scales, logit_opacities, sh and features."""
        *parameters, features = as_arrays(tensors)
        splats = prepare(crew, tuple(parameters), features, view)
        size = (view.height, view.width)
        images = (
            np.empty((*size, 3), np.float32),
            np.empty(size, np.float32),
            np.empty(size, np.float32),
            np.empty((*size, features.shape[1]), np.float32),
        )
        num_tiles = len(splats.tile_start) - 1
        states = (np.empty((num_tiles, PIXELS), np.float32), np.empty((num_tiles, PIXELS), np.float32))
        lists = (splats.tile_start, splats.members, splats.splats, splats.channels, STEPS)
        crew.run(draw_tiles, *lists, images, states)
        outputs = tuple(torch.from_numpy(image) for image in images)
        visible = torch.from_numpy(splats.visible)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(visible)
        ctx.save_for_backward(*tensors, outputs[1], outputs[2])
        ctx.crew, ctx.view, ctx.splats, ctx.states = crew, view, splats, states
        return (*outputs, visible)

    @staticmethod
    def backward(ctx, *upstream: Tensor | None):
        """Gradients of the tensors that want them."""
        tensors, drawn = ctx.saved_tensors[:-2], as_arrays(ctx.saved_tensors[-2:])
        asked = ctx.needs_input_grad[2:]
        wanted = (any(asked[:4]), asked[4], asked[5])
        splats, view, crew = ctx.splats, ctx.view, ctx.crew
        size = (view.height, view.width)
        num_features = tensors[-1].shape[1]
        shapes = ((*size, 3), size, size, (*size, num_features))
        given = tuple(
            np.zeros(shape, np.float32) if g is None else as_arrays((g,))[0]
            for shape, g in zip(shapes, upstream[:4], strict=True)
        )
        lists = (splats.tile_start, splats.members, splats.splats, splats.channels, STEPS)
        gradients = np.empty((len(splats.members), MOMENTS + splats.channels.shape[1]), np.float32)
        groups = (wanted[0], wanted[0] or wanted[1], wanted[2])
        crew.run(tile_gradients, *lists, drawn, given, ctx.states, groups, gradients)
        kept = (wanted[0],) * 4 + wanted[1:]
        out = tuple(
            np.zeros(tensor.shape if keep else (len(tensor),) + (0,) * (tensor.ndim - 1), np.float32)
            for tensor, keep in zip(tensors, kept, strict=True)
        )
        places = (splats.order, splats.place_start, splats.places, gradients)
        crew.run(splat_gradients, *places, splats.parameters, view.view, view.center, view.pinhole, wanted, out)
        results = (torch.from_numpy(array) if ask else None for array, ask in zip(out, asked, strict=True))
        return (None, None, *results)
