# SPDX-License-Identifier: Apache-2.0
"""Gaussians carried along by a rigid step look the same from a camera that takes the step too."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.gaussians.movement import anchored, harmonics_turned, moved, quat_product
from ccl_lgs_ros.geometry import quat_from_rotation, rigid
from ccl_lgs_ros.rendering.harmonics import basis
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Gaussians

STEP = rigid(Rotation.from_rotvec([0.3, -0.5, 0.9]).as_matrix(), np.array([0.4, -1.0, 2.0]))


def scattered(count: int, sh_degree: int) -> Gaussians:
    generator = torch.Generator().manual_seed(1)
    place = torch.rand(count, 3, generator=generator) * torch.tensor([2.0, 1.5, 2.0])
    return Gaussians(
        means=place + torch.tensor([-1.0, -0.75, 2.0]),
        quats=torch.randn(count, 4, generator=generator),
        log_scales=torch.rand(count, 3, generator=generator) - 3.0,
        logit_opacities=torch.randn(count, generator=generator),
        sh=0.3 * torch.randn(count, (sh_degree + 1) ** 2, 3, generator=generator),
    )


@pytest.mark.parametrize("sh_degree", [0, 1, 3])
def test_what_moves_with_its_camera_looks_the_same(sh_degree: int) -> None:
    gaussians, camera = scattered(40, sh_degree), Camera(width=32, height=24, fx=28.0, fy=28.0, cx=16.0, cy=12.0)
    carried = moved(gaussians, torch.zeros(40, dtype=torch.int32), {0: STEP}, basis)
    rasterizer = TorchRasterizer()
    before = rasterizer.render(gaussians, camera, np.eye(4))
    after = rasterizer.render(carried, camera, STEP)
    assert torch.allclose(before.color, after.color, atol=2e-4)
    assert torch.allclose(before.depth, after.depth, atol=2e-3)


def test_only_what_hangs_on_a_keyframe_moves_with_it() -> None:
    gaussians = scattered(3, 1)
    carried = moved(gaussians, torch.tensor([5, -1, 4], dtype=torch.int32), {5: STEP, 7: STEP}, basis)
    expected = gaussians.means[0].double().numpy() @ STEP[:3, :3].T + STEP[:3, 3]
    assert np.allclose(carried.means[0].numpy(), expected, atol=1e-5)
    for name, tensor in carried.tensors().items():
        assert torch.equal(tensor[1:], gaussians.tensors()[name][1:])


def test_turning_there_and_back_changes_no_harmonics() -> None:
    turn = torch.from_numpy(STEP[:3, :3])
    there, back = harmonics_turned(turn, 16, basis), harmonics_turned(turn.T, 16, basis)
    assert torch.allclose(back @ there, torch.eye(16).double(), atol=1e-9)
    assert torch.allclose(there @ there.T, torch.eye(16).double(), atol=1e-9)


def test_a_product_of_quaternions_is_the_product_of_rotations() -> None:
    first, second = Rotation.from_rotvec([0.1, 0.2, -0.3]), Rotation.from_rotvec([1.0, 0.0, 0.4])
    quats = [torch.from_numpy(quat_from_rotation(each.as_matrix())) for each in (first, second)]
    found = quat_product(quats[0], quats[1][None])[0].numpy()
    assert np.allclose(abs(found @ quat_from_rotation((first * second).as_matrix())), 1.0)


def test_what_hangs_on_nothing_takes_the_keyframe_of_its_neighbour() -> None:
    means = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0.1, 0, 0], [0.9, 0, 0]])
    anchor = torch.tensor([3, 8, -1, -1], dtype=torch.int32)
    assert anchored(anchor, means).tolist() == [3, 8, 3, 8]
    nothing = torch.full((4,), -1, dtype=torch.int32)
    assert anchored(nothing, means).tolist() == [-1, -1, -1, -1]
