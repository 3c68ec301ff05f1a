# SPDX-License-Identifier: Apache-2.0
"""How one keyframe joins a map: what is gone leaves it, what is new is seeded, what is seen votes."""

from collections.abc import Mapping

import torch

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.store import Part
from ccl_lgs_ros.live import LiveLanguage
from ccl_lgs_ros.live_geometry import LiveGeometry
from ccl_lgs_ros.structures import Segments
from ccl_lgs_ros.working_size import WorkingSize


def join(
    geometry: LiveGeometry,
    language: LiveLanguage,
    view: Keyframe,
    segments: Mapping[str, Segments],
    index: int,
    *,
    working_size: WorkingSize,
    gives_colour: bool,
) -> None:
    """One keyframe joins; only what it sees is touched.

    Args:
        view: the keyframe at working size, with depth.
        segments: of the keyframe, by level.
        index: of the keyframe.
        gives_colour: whether it may seed.
    """
    part = _left_of(geometry.store.seen_by(view), geometry, language, view, index)
    if gives_colour:
        new = geometry.seed(view, part, index)
        language.grow(len(new.index))
        part = part.joined(new)
    labels = {name: working_size.labels(found.labels) for name, found in segments.items()}
    language.join(part, view, segments, labels)


def _left_of(part: Part, geometry: LiveGeometry, language: LiveLanguage, view: Keyframe, index: int) -> Part:
    """What is left of some Gaussians once a view has looked through those that are no longer there."""
    is_through = geometry.store.weigh(part, view, index)
    if not is_through.any():
        return part
    gone = language.let_go(part.index[is_through], part.index)
    geometry.remove(gone)
    return part.select(~torch.isin(part.index, gone))
