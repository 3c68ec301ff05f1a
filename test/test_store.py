# SPDX-License-Identifier: Apache-2.0
"""What a view sees of a large map is found without a look at the rest, and is all that it can see."""

import numpy as np
import pytest
import torch

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.gaussians.cells import CELL, hidden, in_view
from ccl_lgs_ros.gaussians.growing import Growing
from ccl_lgs_ros.gaussians.store import GaussianStore
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import Gaussians, Tracks, VoteTable

CAMERA = Camera(width=64, height=48, fx=50.0, fy=50.0, cx=30.0, cy=25.0)


def scattered(count: int, seed: int, half: float = 8.0) -> Gaussians:
    """Gaussians all around the origin, some of them huge."""
    generator = torch.Generator().manual_seed(seed)
    log_scales = torch.randn(count, 3, generator=generator) - 3.0
    log_scales[: count // 50] += 1.0
    return Gaussians(
        means=half * (2.0 * torch.rand(count, 3, generator=generator) - 1.0),
        quats=torch.randn(count, 4, generator=generator),
        log_scales=log_scales,
        logit_opacities=torch.randn(count, generator=generator) + 2.0,
        sh=torch.randn(count, 1, 3, generator=generator),
    )


def view(pose: np.ndarray | None = None, depth: np.ndarray | None = None) -> Keyframe:
    return Keyframe(
        id=0, stamp_ns=0, camera=CAMERA, world_from_camera=np.eye(4) if pose is None else pose,
        image=np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), depth=depth,
    )  # fmt: skip


def turned(angle: float, shift: tuple[float, float, float]) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    pose = np.eye(4)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose[:3, 3] = shift
    return pose


@pytest.mark.parametrize("seed", range(8))
def test_a_view_of_the_part_that_it_sees_is_a_view_of_the_whole(seed: int) -> None:
    gaussians = scattered(3000, seed)
    store = GaussianStore(gaussians.select(torch.arange(1000)))
    store.append(gaussians.select(torch.arange(1000, 3000)))
    seen_from = view(turned(0.9 * seed, (0.5 * seed, -0.3, 1.0)))
    part = store.seen_by(seen_from)
    assert 0 < len(part.index) < len(gaussians)
    assert torch.equal(part.gaussians.means, gaussians.means[part.index])
    rasterizer = NumbaRasterizer()
    whole = rasterizer.render(gaussians, seen_from.camera, seen_from.world_from_camera)
    alone = rasterizer.render(part.gaussians, seen_from.camera, seen_from.world_from_camera)
    assert torch.equal(whole.color, alone.color) and torch.equal(whole.depth, alone.depth)


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_before_or_on_the_measured_surface_is_never_left_out(seed: int) -> None:
    gaussians = scattered(4000, seed)
    rng = np.random.default_rng(seed)
    depth = (2.0 + 4.0 * rng.random((6, 8))).repeat(8, axis=0).repeat(8, axis=1).astype(np.float32)
    depth[10:20, 40:50] = np.nan
    seen_from = view(depth=depth)
    part = GaussianStore(gaussians).seen_by(seen_from)
    pixels = CAMERA.project(gaussians.means.numpy().astype(np.float64))
    z = gaussians.means[:, 2].numpy()
    with np.errstate(invalid="ignore"):
        inside = (pixels > 0).all(axis=1) & (pixels[:, 0] < CAMERA.width) & (pixels[:, 1] < CAMERA.height)
    column, row = np.floor(pixels[inside]).astype(int).T
    measured = depth[row, column]
    must = np.flatnonzero(inside)[~(z[inside] > 1.1 * measured)]
    assert np.isin(must, part.index.numpy()).all()
    assert len(part.index) < len(GaussianStore(gaussians).seen_by(view()).index)


def test_a_room_behind_a_wall_is_not_touched() -> None:
    wall = np.full((48, 64), 2.0, np.float32)
    store = GaussianStore(scattered(2000, 0))
    part = store.seen_by(view(depth=wall))
    index, far = part.index, part.gaussians.means[:, 2]
    unhidden = store.seen_by(view(depth=np.full_like(wall, np.nan))).gaussians.means[:, 2]
    small = torch.nonzero(store.gaussians.log_scales.amax(dim=1) < np.log(0.1))[:, 0]
    assert far[torch.isin(index, small)].max() < 2.2 + 2 * CELL  # a cell that the wall stands in is seen whole
    assert unhidden.max() > 7.5 and len(far) < len(unhidden) / 2


def test_balls_at_the_rim_behind_the_camera_and_around_it() -> None:
    centres = np.array([[0, 0, 2.0], [0, 0, -2.0], [0, 0, -0.5], [-1.2, 0, 2.0], [-3.0, 0, 2.0], [0, 2.0, 2.0]])
    seen = in_view(centres, np.full(6, 1.0), CAMERA)
    assert seen.tolist() == [True, False, True, True, False, True]


def test_a_ball_is_hidden_only_behind_what_was_measured_all_over_it() -> None:
    depth = np.full((480, 640), 3.0, np.float32)
    camera = CAMERA.resized(640, 480)
    centres, radii = np.array([[0, 0, 5.0], [0, 0, 3.5], [0, 0, 0.5], [-2.0, 0, 5.0]]), np.full(4, 1.0)
    assert hidden(centres, radii, camera, depth).tolist() == [True, False, False, True]
    depth[250, 300] = np.nan  # a speck without depth
    assert hidden(centres, radii, camera, depth).tolist() == [True, False, False, True]
    depth[200:300, 250:350] = np.nan  # a window
    assert hidden(centres, radii, camera, depth).tolist() == [False, False, False, True]


def test_a_growing_table_is_the_table_joined() -> None:
    generator = torch.Generator().manual_seed(0)
    growing, expected = Growing(VoteTable.empty(3, 2)), VoteTable.empty(3, 2).weight
    for count in (0, 1, 5, 40):
        more = VoteTable.empty(count, 2)
        more.weight.copy_(torch.rand(count, 2, generator=generator))
        growing.append(more)
        expected = torch.cat([expected, more.weight])
        assert torch.equal(growing.table.weight, expected)
    assert len(growing) == 49
    assert growing.num_bytes >= 49 * (2 * 4 + 2 * 4 + 4 + 4)


def test_rows_are_read_and_put_by_number_and_what_was_read_before_stays() -> None:
    growing = Growing(Tracks(features=torch.eye(3), weight=torch.arange(3.0), num_segments=torch.arange(3)))
    which = torch.tensor([2, 0])
    before = growing.rows(which)
    growing.put(which, Tracks(features=-torch.eye(3)[:2], weight=torch.tensor([7.0, 8.0]), num_segments=which))
    assert before.weight.tolist() == [2.0, 0.0]
    assert growing.table.weight.tolist() == [8.0, 1.0, 7.0]
    assert growing.table.features[2].tolist() == [-1.0, 0.0, 0.0]


def test_the_gaussians_that_a_store_was_given_do_not_change() -> None:
    gaussians = scattered(10, 0)
    store = GaussianStore(gaussians)
    first = store.gaussians
    added = store.append(scattered(7, 1))
    assert added.index.tolist() == list(range(10, 17))
    assert len(first) == 10 and len(store.gaussians) == 17
    assert torch.equal(first.means, gaussians.means)
