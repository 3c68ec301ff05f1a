# SPDX-License-Identifier: Apache-2.0
"""Which masks an instance is: each instance is drawn alone, without a depth test, and laid over the masks of each view.

Nothing occludes an instance that is drawn alone, so overlap alone would give it the mask of what stands before it; that
mask has another feature.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.field.decoder import MIN_ALPHA
from ccl_lgs_ros.field.drawn_alone import silhouettes
from ccl_lgs_ros.field.instance_losses import mask_means
from ccl_lgs_ros.labelling import LabelledView, LabelledViews, SegmentTable
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instances:
    """Which Gaussians are one thing, and what their features are."""

    of_gaussian: Tensor  # [N] int64, -1 none
    features: Tensor  # [I, C] of each instance, in the unit cube

    @staticmethod
    def of(of_gaussian: Tensor, features: Tensor) -> "Instances":
        """Instances numbered without gaps, each with the mean of its Gaussians' features [N, C]."""
        member = torch.nonzero(of_gaussian != NONE)[:, 0]
        used, number = torch.unique(of_gaussian[member], return_inverse=True)
        numbered = torch.full_like(of_gaussian, NONE)
        numbered[member] = number
        return Instances(of_gaussian=numbered, features=mask_means(features[member], number, len(used)))

    def __len__(self) -> int:
        return self.features.shape[0]

    def painted(self) -> Tensor:
        """The features [N, C] of Gaussians that are what their instance is; zeros for those of none."""
        return torch.cat([self.features, torch.zeros(1, self.features.shape[1])])[self.of_gaussian]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InstanceLanguage:
    """The language of each instance, fused over the views."""

    entries: Tensor  # [I, D] unit rows, or zeros where no mask was found
    weight: Tensor  # [I] the sum of the scores of its masks
    instance_of_row: Tensor  # [B] int64 the instance that fits each segment best; -1 none


def instance_language(
    gaussians: Gaussians,
    instances: Instances,
    views: LabelledViews,
    level: str,
    table: SegmentTable,
    rasterizer: Rasterizer,
    progress: Callable[[int, int], None],
) -> InstanceLanguage:
    """The language of each instance: in every view that of the mask which fits it best, weighed by how well.

    How well a mask fits is its overlap with the instance (IoU), times one minus the distance (L1)
    of the instance's feature to what the mask shows of the features of all instances. A pixel is as much of the
    instance as its alpha, so that faint instances need no threshold of their own.

    Differs from the code of the paper, which takes the masks that fit better than 0.2 with equal weight, and drops what
    fewer than five views name: here every mask counts by how well it fits.

    Source: OpenGaussian (Wu et al., 2024), instance-level association of 3D and 2D without depth test.
    """
    total = torch.zeros(len(instances), table.features.shape[1], dtype=torch.float64)
    weight = torch.zeros(len(instances), dtype=torch.float64)
    best, instance_of_row = torch.zeros(len(table)), torch.full((len(table),), NONE)
    for index in range(len(views) if len(instances) else 0):
        view = views[index]
        rows, score = scores(gaussians, instances, view, level, rasterizer)
        if len(rows):
            highest = score.max(dim=1)
            fitting = rows[highest.indices]
            total += highest.values.double()[:, None] * table.features[fitting].double()
            weight += highest.values.double()
            of_mask = score.max(dim=0)
            is_better = of_mask.values > best[rows]
            best[rows[is_better]] = of_mask.values[is_better]
            instance_of_row[rows[is_better]] = of_mask.indices[is_better]
        progress(index + 1, len(views))
    return InstanceLanguage(
        entries=normalize(total, dim=1).to(table.features.dtype),
        weight=weight.float(),
        instance_of_row=instance_of_row,
    )


@torch.no_grad()
def scores(
    gaussians: Gaussians,
    instances: Instances,
    view: LabelledView,
    level: str,
    rasterizer: Rasterizer,
) -> tuple[Tensor, Tensor]:
    """The rows [m] of a view's masks in the level's table, and how well each fits each instance [I, m]."""
    camera, pose = view.keyframe.camera, view.pose
    row = view.rows[level].cpu().flatten().long()
    is_masked = row != NONE
    rows, mask = torch.unique(row[is_masked], return_inverse=True)
    area = torch.bincount(mask, minlength=len(rows)).float()
    mask_of_pixel = torch.full_like(row, len(rows)).masked_scatter(is_masked, mask).view(camera.height, camera.width)
    drawn = rasterizer.render(gaussians, camera, pose, instances.painted().to(gaussians.means.device))
    is_covered = drawn.alpha.cpu().flatten()[is_masked] > MIN_ALPHA
    pixels = drawn.features.cpu().flatten(0, 1)[is_masked]
    pseudo = mask_means(pixels[is_covered], mask[is_covered], len(rows))
    nearness = 1.0 - torch.cdist(instances.features.cpu(), pseudo, p=1)
    score = torch.zeros(len(instances), len(rows))
    owner = instances.of_gaussian
    for i, place, alpha in silhouettes(gaussians, owner, len(instances), view, rasterizer) if len(rows) else ():
        inside = mask_of_pixel[place].flatten()
        shared = torch.zeros(len(rows) + 1).index_add(0, inside, alpha.flatten())[:-1]
        score[i] = shared / (area + alpha.sum() - shared)
    return rows, score * nearness.clamp_min(0.0)
