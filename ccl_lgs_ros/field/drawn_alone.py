# SPDX-License-Identifier: Apache-2.0
"""Instances drawn without all others, many at once: those whose rectangles in the image do not meet share a drawing."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ccl_lgs_ros.labelling import LabelledView
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

EXTENT = 3.4  # standard deviations; beyond them a Gaussian gives a pixel less than a 255th
MARGIN = 2.0  # pixels; what drawing widens small Gaussians by
NEAR = 0.01  # metres; what lies nearer to the camera plane has no extent in the image


@torch.no_grad()
def silhouettes(
    gaussians: Gaussians, of_gaussian: Tensor, count: int, view: LabelledView, rasterizer: Rasterizer
) -> Iterator[tuple[int, tuple[slice, slice], Tensor]]:
    """Each instance that a view could show, hidden or not: its number, its rows and columns, its alpha [h, w] there.

    Args:
        of_gaussian: [N] int64 which of `count` instances each Gaussian is of, -1 none.
    """
    boxes = rectangles(gaussians, of_gaussian, count, view)
    for together in packed(boxes):
        chosen = torch.zeros(count + 1, dtype=torch.bool)  # the last answers for -1
        chosen[together] = True
        drawn = gaussians.select(chosen[of_gaussian].to(gaussians.means.device))
        alpha = rasterizer.render(drawn, view.keyframe.camera, view.pose).alpha.cpu()
        for number in together:
            left, top, right, bottom = boxes[number].tolist()
            place = slice(top, bottom), slice(left, right)
            yield number, place, alpha[place]


def rectangles(gaussians: Gaussians, of_gaussian: Tensor, count: int, view: LabelledView) -> Tensor:
    """Where an instance may show in a view: left, top, right, bottom [I, 4], the last two excluded; empty if not."""
    camera, pose = view.keyframe.camera, torch.from_numpy(view.pose).to(gaussians.means)
    points = (gaussians.means.detach() - pose[:3, 3]) @ pose[:3, :3]
    rays = points[:, :2] / points[:, 2:].clamp_min(NEAR)
    focal = torch.tensor([camera.fx, camera.fy]).to(rays)
    centre = rays * focal + torch.tensor([camera.cx, camera.cy]).to(rays)
    size = EXTENT * gaussians.scales.detach().amax(dim=1) / points[:, 2].clamp_min(NEAR)
    radius = size[:, None] * focal * (1.0 + rays.square().sum(dim=1, keepdim=True)).sqrt() + MARGIN
    image = torch.tensor([camera.width, camera.height]).to(rays)
    low, high = (centre - radius).clamp_min(0.0), torch.minimum(centre + radius, image)
    shows = ((low < high).all(dim=1) & (points[:, 2] > NEAR)).cpu() & (of_gaussian != NONE)
    owner = of_gaussian[shows][:, None].expand(-1, 2)
    least = image.cpu().repeat(count, 1).scatter_reduce(0, owner, low.cpu()[shows], "amin")
    most = torch.zeros(count, 2).scatter_reduce(0, owner, high.cpu()[shows], "amax")
    return torch.cat([least.floor(), most.ceil()], dim=1).long()


def packed(boxes: Tensor) -> list[list[int]]:
    """Rectangles [I, 4] in groups in which none meets another, large ones first; empty ones are in none."""
    area = (boxes[:, 2] - boxes[:, 0]).clamp_min(0) * (boxes[:, 3] - boxes[:, 1]).clamp_min(0)
    groups: list[list[int]] = []
    for number in area.argsort(descending=True, stable=True).tolist():
        if area[number] == 0:
            break
        for group in groups:
            others = boxes[group]
            meets = (boxes[number, :2] < others[:, 2:]) & (others[:, :2] < boxes[number, 2:])
            if not meets.all(dim=1).any():
                group.append(number)
                break
        else:
            groups.append([number])
    return groups
