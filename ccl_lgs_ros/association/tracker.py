# SPDX-License-Identifier: Apache-2.0
"""Association by a video model: masks are followed from keyframe to keyframe, and segments that fit one join its track.

The model comes in behind protocols.Propagator; nothing here knows which one it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ccl_lgs_ros.association.mask_overlap import LabelMaps, areas, intersections, iou, masks_of
from ccl_lgs_ros.association.reseeding import Reseeding, renumbered
from ccl_lgs_ros.protocols import ImageSource, Progress, Propagator, no_progress
from ccl_lgs_ros.structures import NONE


def tracked(
    images: ImageSource,
    label_maps: LabelMaps,
    num_segments: Sequence[int],
    propagator: Propagator,
    *,
    match_iou: float,
    reseed: bool,
    backward: bool,
    window: int,
    progress: Progress = no_progress,
) -> list[Tensor]:
    """The track [M] int64 of each keyframe's segments at one level, -1 none; tracks are numbered without gaps.

    Args:
        images: the keyframes' images in the order in which the camera took them.
        label_maps: their segments, of the images' size.
        num_segments: how many segments each label map has; some may have no pixel.
        propagator: follows masks.
        match_iou: IoU with a followed mask above which a segment joins its track.
        reseed: start tracks wherever none is; false follows the masks of the first keyframe alone, as published.
        backward: follow new tracks backward as well; only where `reseed` is set.
        window: keyframes that are held at once, >= 2; only where `reseed` is set. See `Reseeding` for the memory.
        progress: told of every followed image, as stage "track".

    Raises:
        ValueError: if the three sequences differ in length, or the window is too short.
        Cancelled: from `progress`.

    Source: CCL-LGS (Tian et al., 2025), section 3.2 for `reseed=False`; the rest is ours.
    """
    if not len(images) == len(label_maps) == len(num_segments):
        lengths = len(images), len(label_maps), len(num_segments)
        raise ValueError(f"images, label maps and numbers of segments: expected equal lengths, got {lengths}")
    if window < 2:
        raise ValueError(f"window: expected at least 2 keyframes, got {window}")
    if not reseed:
        return _from_the_first(images, label_maps, num_segments, propagator, match_iou, progress)
    sweep = Reseeding(
        images, label_maps, num_segments, propagator, match_iou=match_iou, backward=backward, progress=progress
    )
    return sweep.run(window)


def _from_the_first(
    images: ImageSource,
    label_maps: LabelMaps,
    num_segments: Sequence[int],
    propagator: Propagator,
    match_iou: float,
    progress: Progress,
) -> list[Tensor]:
    """The paper: the masks of the first keyframe are followed forward; the one of highest IoU gives the track."""
    track_of_segment = [torch.full((count,), NONE, dtype=torch.int64) for count in num_segments]
    if not track_of_segment:
        return []
    first = label_maps[0]
    tracks = torch.nonzero(areas(first, num_segments[0]))[:, 0]
    if not len(tracks):
        return track_of_segment
    for index, masks in propagator.propagate(images, 0, masks_of(first, tracks), False):
        labels, count = label_maps[index], num_segments[index]
        overlap = iou(intersections(labels, masks, count), areas(labels, count), masks.flatten(1).sum(dim=1).cpu())
        best = overlap.max(dim=1)
        track_of_segment[index] = torch.where(best.values > match_iou, tracks[best.indices], NONE)
        progress("track", index + 1, len(images), tracks=len(tracks))
    track_of_segment[0][tracks] = tracks
    return renumbered(track_of_segment)
