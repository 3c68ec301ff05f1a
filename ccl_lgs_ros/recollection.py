# SPDX-License-Identifier: Apache-2.0
"""The keyframes of a session with what they show, as far as it is still true."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.changes import Outdated, labels_still_true, still_true
from ccl_lgs_ros.gaussians.ghosts import Ghosts, newcomers_before, outdated_pixels_of
from ccl_lgs_ros.gaussians.store import GaussianStore
from ccl_lgs_ros.perceiving import Perceiver
from ccl_lgs_ros.protocols import KeyframeSource, Progress, Rasterizer
from ccl_lgs_ros.structures import Segments
from ccl_lgs_ros.working_size import WorkingSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """The keyframes of a session with what they show, read anew whenever they are asked for."""

    keyframes: KeyframeSource
    perceiver: Perceiver
    working_size: WorkingSize
    count: int  # keyframes that take part
    holdout_every: int = 0  # every how many-th gives no colour
    outdated: Outdated = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count

    def view(self, index: int) -> Keyframe:
        """A keyframe at working size, as far as it is still true."""
        return still_true(self.working_size.of(self.keyframes[index]), self.outdated.get(index))

    def labels(self, index: int, segments: Mapping[str, Segments]) -> dict[str, Tensor]:
        """The label maps [h, w] of a keyframe's segments by level, at working size, as far as they are still true."""
        return {
            name: labels_still_true(self.working_size.labels(found.labels), self.outdated.get(index))
            for name, found in segments.items()
        }


def outdated_pixels(
    ghosts: Ghosts,
    store: GaussianStore,
    seen: Recollection,
    views: KeyframeSource,
    rasterizer: Rasterizer,
    progress: Progress,
) -> Outdated:
    """The pixels of each keyframe that show what has changed since.

    Args:
        store: the Gaussians that are there.
        views: the keyframes at working size, with depth.
    """
    found, count = {}, len(seen)
    for index in range(count):
        view = views[index]
        gone = ghosts.shown_by(view, index, store, rasterizer)
        came = newcomers_before(view, index, store, rasterizer)
        labels = seen.labels(index, seen.perceiver.segments(seen.keyframes[index])) if gone is not None else {}
        pixels = outdated_pixels_of(gone, came, labels)
        if pixels is not None:
            found[index] = pixels
        progress("changes", index + 1, count)
    return found
