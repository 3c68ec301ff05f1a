# SPDX-License-Identifier: Apache-2.0
"""The numba kernels joined to a picture, and to an autograd function."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.rendering.blending import TABLES, draw_tiles
from ccl_lgs_ros.rendering.blending_backward import row_size, tile_gradients
from ccl_lgs_ros.rendering.lanes import WIDTH
from ccl_lgs_ros.rendering.projection import project
from ccl_lgs_ros.rendering.projection_backward import splat_gradients
from ccl_lgs_ros.rendering.tiles import HEIGHT, NUM_BLOCKS, PIXELS, drawing_order, fill_lists, gather, start_lists
from ccl_lgs_ros.rendering.workers import Crew

Array = NDArray[np.float32]
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
    rows: NDArray[np.uint32]  # [I] the rows of the tile that each may touch, as bits
    place_start: NDArray[np.int64]  # [M]
    place_stop: NDArray[np.int64]  # [M]
    places: NDArray[np.int32]  # places in `members` by splat, from place_start to place_stop
    visible: NDArray[np.bool_]  # [N]

    @property
    def lists(self) -> tuple[Any, ...]:
        """What kernels over tiles want of it."""
        return self.tile_start, self.members, self.rows, self.splats, self.channels.ravel(), TABLES


def prepare(crew: Crew, parameters: tuple[Array, ...], features: Array, view: View) -> Splats:
    """Project Gaussians, given as stored, sort them by depth and into tiles."""
    n, c = features.shape
    splats, shades, most = np.empty((n, 8), np.float32), np.empty((n, 4), np.float32), np.empty(n, np.int64)
    crew.run(project, parameters, view.view, view.center, view.pinhole, splats, shades, most)
    visible = most >= 0
    order = drawing_order(visible, shades[:, 3])
    place_stop = np.cumsum(most[order])
    place_start = place_stop - most[order]
    size = int(place_stop[-1]) if len(order) else 0
    m, p = len(order), CHANNEL_GROUP * (1 + -(-c // CHANNEL_GROUP))
    sorted_splats, channels = np.empty((m, 8), np.float32), np.empty((m, p), np.float32)
    places, rows = np.empty(size, np.int32), np.empty(size, np.uint32)
    num_tiles = -(-view.width // WIDTH) * -(-view.height // HEIGHT)
    cursors, tile_start = np.zeros((NUM_BLOCKS, num_tiles), np.int64), np.empty(num_tiles + 1, np.int64)
    out = (sorted_splats, channels, place_stop, places, rows, cursors)
    crew.run(gather, order, (splats, shades), features, place_start, out, (view.width, view.height))
    start_lists(cursors, tile_start)
    members, member_rows = np.empty(tile_start[-1], np.int32), np.empty(tile_start[-1], np.uint32)
    crew.run(fill_lists, place_start, place_stop, cursors, places, rows, members, member_rows)
    return Splats(
        order=order,
        splats=sorted_splats,
        channels=channels,
        tile_start=tile_start,
        members=members,
        rows=member_rows,
        place_start=place_start,
        place_stop=place_stop,
        places=places,
        visible=visible,
    )


def as_arrays(tensors: tuple[Tensor, ...]) -> tuple[Array, ...]:
    """Tensors on the CPU as contiguous float32 arrays, without a copy where they are."""
    return tuple(np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32) for tensor in tensors)


def image_shapes(view: View, num_features: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of colour, depth, alpha and features."""
    size = (view.height, view.width)
    return (*size, 3), size, size, (*size, num_features)


class Draw(torch.autograd.Function):
    """Colour [H, W, 3], depth [H, W], alpha [H, W], features [H, W, C] and visibility [N] of Gaussians in a view."""

    @staticmethod
    def forward(ctx, crew: Crew, view: View, *tensors: Tensor):
        """Draw; `tensors` are means, quats, log_scales, logit_opacities, sh and features."""
        *parameters, features = as_arrays(tensors)
        splats = prepare(crew, tuple(parameters), features, view)
        shapes = image_shapes(view, features.shape[1])
        images = tuple(np.empty(shape, np.float32) for shape in shapes)
        num_tiles = len(splats.tile_start) - 1
        states = (np.empty((num_tiles, PIXELS), np.float32), np.empty((num_tiles, PIXELS), np.float32))
        size = (view.width, view.height, features.shape[1], splats.channels.shape[1])
        crew.run(draw_tiles, *splats.lists, size, tuple(image.reshape(-1) for image in images), states)
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
        parameters = as_arrays(tensors[:-1])
        asked = ctx.needs_input_grad[2:]
        wanted = (any(asked[:4]), asked[4], asked[5])
        splats, view, crew = ctx.splats, ctx.view, ctx.crew
        shapes = image_shapes(view, tensors[-1].shape[1])
        given = tuple(
            np.zeros(shape, np.float32) if g is None else as_arrays((g,))[0]
            for shape, g in zip(shapes, upstream[:4], strict=True)
        )
        size = (view.width, view.height, tensors[-1].shape[1], splats.channels.shape[1])
        flat = (tuple(image.reshape(-1) for image in images) for images in (drawn, given))
        gradients = np.empty((len(splats.members), row_size(splats.channels.shape[1])), np.float32)
        groups = (wanted[0], wanted[0] or wanted[1], wanted[2])
        crew.run(tile_gradients, *splats.lists, size, *flat, ctx.states, groups, gradients)
        kept = (wanted[0],) * 4 + wanted[1:]
        out = tuple(
            np.zeros(tensor.shape if keep else (len(tensor),) + (0,) * (tensor.ndim - 1), np.float32)
            for tensor, keep in zip(tensors, kept, strict=True)
        )
        places = (splats.order, splats.place_start, splats.place_stop, splats.places)
        crew.run(splat_gradients, places, gradients, parameters, view.view, view.center, view.pinhole, wanted, out)
        results = (torch.from_numpy(array) if ask else None for array, ask in zip(out, asked, strict=True))
        return (None, None, *results)
