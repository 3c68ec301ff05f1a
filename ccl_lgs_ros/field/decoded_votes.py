# SPDX-License-Identifier: Apache-2.0
"""Rendered features, decoded to codes at every view, vote on the Gaussians: a blend is not its parts."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ccl_lgs_ros.field.coded import labels_of_codes
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels
from ccl_lgs_ros.protocols import Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, VoteTable


def decoded_votes(
    registration: RegistrationLifter,
    gaussians: Gaussians,
    features: Mapping[str, Tensor],
    codes_of: Callable[[str, Tensor, Tensor], Tensor],
    views: LabelledViews,
    rasterizer: Rasterizer,
    progress: Progress,
) -> dict[str, VoteTable]:
    """The votes of all views, decoded, for codes, by level.

    Args:
        features: level -> [N, C], of one C; all levels are drawn at once.
        codes_of: the codes [H, W] int32, -1 none, of a level from its blended features [H, W, C] and alpha [H, W].
    """
    tables = {name: VoteTable.empty(len(gaussians), registration.slots) for name in features}
    for index in range(len(views) if tables else 0):
        view = views[index]
        camera, pose = view.keyframe.camera, view.pose
        with torch.no_grad():
            drawn = rasterizer.render(gaussians, camera, pose, torch.cat([*features.values()], dim=1))
        for name, blended in zip(tables, drawn.features.chunk(len(tables), dim=2), strict=True):
            votes = rasterizer.vote(gaussians, camera, pose, codes_of(name, blended, drawn.alpha))
            tables[name] = registration.accumulate(tables[name], votes)
        progress("decode", index + 1, len(views))
    return tables


def found_by_codes(
    codes: Mapping[str, tuple[Tensor, Tensor]], seen: Mapping[str, VoteTable], labels: Mapping[str, LevelLabels]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The label [N] int32 and confidence [N] uint8 of each Gaussian by level; none at levels without codes.

    Args:
        codes: level -> the code [N] of each Gaussian, -1 none, with its confidence [N] of 255.
        seen: level -> the votes for labels.
    """
    found, confidence = {}, {}
    for name, level in labels.items():
        visibility = seen[name].visibility
        nothing = torch.full_like(visibility, NONE, dtype=torch.int32), torch.zeros_like(visibility)
        code, sure = codes.get(name, nothing)
        found[name] = labels_of_codes(code, seen[name], level.code_of_label)
        confidence[name] = torch.where(found[name] == NONE, 0, sure).to(torch.uint8)
    return found, confidence
