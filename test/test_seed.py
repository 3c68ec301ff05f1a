# SPDX-License-Identifier: Apache-2.0
"""Seeds lie on measured surfaces, cover what the map leaves unexplained, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from depth_scene import CAMERA, FRONT, WALL, view
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.surface import closed, normals_of, spacing_of, without_flying_pixels
from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Gaussians, Rendering


def rendered(gaussians: Gaussians, keyframe: Keyframe) -> Rendering:
    with torch.no_grad():
        return TorchRasterizer().render(gaussians, keyframe.camera, keyframe.world_from_camera)


def with_depth(depth: NDArray[np.floating]) -> Keyframe:
    return replace(view(), depth=depth.astype(np.float32))


def flat(depth: float = WALL) -> NDArray[np.float32]:
    return np.full((CAMERA.height, CAMERA.width), depth, np.float32)


def test_no_depth_seeds_nothing() -> None:
    assert len(seed_gaussians(replace(view(), depth=None), None)) == 0
    assert len(seed_gaussians(with_depth(flat(np.nan)), None)) == 0


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_seeds_cover_the_image_as_it_looks(stride: int) -> None:
    keyframe = view()
    seen = rendered(seed_gaussians(keyframe, None, seed_stride=stride), keyframe)
    inner = (slice(stride, -stride), slice(stride, -stride))
    assert float((seen.alpha[inner] > 0.5).float().mean()) > 0.99
    error = (seen.color / seen.alpha.clamp_min(0.1)[..., None] - torch.from_numpy(keyframe.image) / 255.0).abs()
    assert float(error[inner].median()) < 0.01 * (1 + stride)
    assert float((seen.depth - torch.from_numpy(keyframe.depth)).abs()[inner].median()) < 0.02


def test_seeding_again_adds_next_to_nothing() -> None:
    keyframe = view()
    first = seed_gaussians(keyframe, None)
    again = seed_gaussians(keyframe, rendered(first, keyframe))
    assert len(again) < 0.05 * len(first)


def test_only_what_is_unexplained_is_seeded() -> None:
    keyframe = view()
    left = torch.arange(CAMERA.width).expand(CAMERA.height, -1) < CAMERA.width // 2
    known = Rendering(
        color=torch.zeros(*left.shape, 3),
        depth=torch.where(left, torch.from_numpy(keyframe.depth), 0.0),
        alpha=left.float(),
        features=torch.zeros(*left.shape, 0),
        is_visible=torch.zeros(0, dtype=torch.bool),
    )
    means = seed_gaussians(keyframe, known).means
    assert len(means) > 100
    assert bool((means[:, 0] > -0.05).all())


def test_a_map_behind_the_measured_surface_does_not_explain_it() -> None:
    keyframe = view()
    wall_only = rendered(seed_gaussians(view(has_box=False), None), keyframe)
    seeds = seed_gaussians(keyframe, wall_only)
    assert float((seeds.means[:, 2] < FRONT + 0.01).float().mean()) > 0.8
    on_front = int(((seeds.means[:, 2] - FRONT).abs() < 0.01).sum())
    assert on_front > 0.8 * (0.4 * CAMERA.fx / FRONT / 3) ** 2


def test_seeds_move_with_the_camera() -> None:
    turn = rigid(rotation_from_quat(np.array([0.8, 0.1, 0.5, -0.2])), np.array([1.0, 2.0, 3.0]))
    v, u = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    here = with_depth(1.5 + 0.002 * u + 0.0011 * v)  # no two at equal depth, whose order rounding would decide
    there = replace(here, world_from_camera=turn)
    first, second = seed_gaussians(here, None), seed_gaussians(there, None)
    moved = first.means.double() @ torch.from_numpy(turn[:3, :3]).T + torch.from_numpy(turn[:3, 3])
    assert torch.allclose(moved.float(), second.means, atol=1e-5)
    assert torch.equal(first.log_scales, second.log_scales)
    assert torch.allclose(rendered(first, here).color, rendered(second, there).color, atol=1e-3)


def test_a_wall_seen_straight_gets_discs_that_face_the_camera() -> None:
    seeds = seed_gaussians(view(has_box=False), None, seed_stride=3)
    quats, scales = seeds.quats.double().numpy(), seeds.scales
    normals = np.stack([rotation_from_quat(q)[:, 2] for q in quats])
    inner = (seeds.means[:, :2].abs() < torch.tensor([0.7, 0.5])).all(dim=1).numpy()
    assert (np.abs(normals[inner, 2]) > 0.99).all()
    assert bool((scales[inner, 2] < 0.5 * scales[inner, 1]).all())


def test_a_slope_is_covered_by_longer_discs() -> None:
    """A floor-like plane, depth growing upwards in the image."""
    v = np.arange(CAMERA.height)[:, None] + 0.5
    slope = np.broadcast_to(1.0 / (0.4 + 0.01 * v), (CAMERA.height, CAMERA.width))
    seeds = seed_gaussians(with_depth(slope), None, seed_stride=3)
    stretch = seeds.scales[:, 0] / seeds.scales[:, 1]
    assert float(stretch.median()) > 1.1
    assert float(stretch.max()) < 3.01


@pytest.mark.parametrize("gap", [2, 3, 4])
@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_sparse_grid_of_dots_is_covered_like_a_dense_image(gap: int, stride: int) -> None:
    depth = flat(np.nan)
    depth[1::gap, 1::gap] = WALL
    keyframe = replace(view(has_box=False), depth=depth)
    seen = rendered(seed_gaussians(keyframe, None, seed_stride=stride), keyframe)
    inner = seen.alpha[6:-6, 6:-6]
    assert float((inner > 0.5).float().mean()) > 0.95


@pytest.mark.parametrize("column", [30, 31, 32])
def test_a_thin_post_is_not_lost_between_strides(column: int) -> None:
    depth = flat()
    depth[:, column : column + 2] = FRONT
    means = seed_gaussians(with_depth(depth), None, seed_stride=5).means
    assert int((means[:, 2] < 1.3).sum()) >= CAMERA.height // 5 // 2


def test_flying_pixels_seed_nothing() -> None:
    keyframe = view()
    assert keyframe.depth is not None
    is_box = keyframe.depth < 1.5
    rim = is_box & ~np.roll(is_box, 1, axis=1)
    depth = np.where(rim, 0.5 * (WALL + FRONT), keyframe.depth)
    means = seed_gaussians(with_depth(depth), None, seed_stride=1).means
    assert not bool(((means[:, 2] > 1.3) & (means[:, 2] < 1.9)).any())


def test_depth_across_an_edge_is_never_mixed() -> None:
    depth = flat()
    depth[:, 30:] = FRONT
    depth[:, 28:32] = np.nan
    found = closed(depth, spacing=3)
    known = found[np.isfinite(found)]
    assert set(np.unique(known.round(3))) == {np.float32(WALL), np.float32(FRONT)}


def test_closing_keeps_what_was_measured_and_the_outline() -> None:
    depth = flat(np.nan)
    depth[10:30, 10:40] = WALL
    depth[15, 20] = np.nan
    found = closed(depth, spacing=1)
    assert np.isfinite(found[15, 20])
    assert np.isnan(found[5, 20]) and np.isnan(found[20, 45])
    assert np.array_equal(found[np.isfinite(depth)], depth[np.isfinite(depth)])


@pytest.mark.parametrize("gap", [1, 2, 3, 5])
def test_the_spacing_of_a_grid_is_found(gap: int) -> None:
    depth = flat(np.nan)
    depth[::gap, ::gap] = 1.0
    assert abs(spacing_of(depth) - gap) <= (gap > 3)


def test_normals_point_at_the_camera_and_are_unknown_at_edges() -> None:
    keyframe = view()
    assert keyframe.depth is not None
    normals = normals_of(CAMERA.unproject(keyframe.depth), 1)
    assert np.allclose(normals[2:6, 2:6], [0.0, 0.0, -1.0], atol=1e-3)
    edge = np.abs(np.diff(keyframe.depth, axis=1)) > 0.5
    assert np.isnan(normals[:, 1:][edge]).all()


def test_a_lonely_measured_image_is_left_whole() -> None:
    assert np.array_equal(without_flying_pixels(flat(), 1), flat())


@pytest.mark.parametrize("degree", [0, 2])
def test_colours_of_any_degree_begin_constant(degree: int) -> None:
    seeds = seed_gaussians(view(), None, sh_degree=degree)
    assert seeds.sh.shape[1] == (degree + 1) ** 2
    assert not bool(seeds.sh[:, 1:].any())
