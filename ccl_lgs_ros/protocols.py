# SPDX-License-Identifier: Apache-2.0
"""What each exchangeable part must offer. Parts are found by name through registry.py.

A part is a class whose constructor takes keyword arguments only, named like the options of its group in
options.py; the registry passes the options that the constructor asks for, and `device`, `download` and `seed`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.structures import Codebook, Gaussians, MaskProposals, Rendering, Segments, Tracks, Votes, VoteTable


class Progress(Protocol):
    """Told how far long work has come; raises errors.Cancelled to stop it."""

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None: ...


class KeyframeSource(Protocol):
    """Keyframes by position, loaded when asked for, so that a mission need not fit in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Keyframe: ...


class Rasterizer(Protocol):
    """Draws Gaussians into a camera and says which Gaussian drew what."""

    def render(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        features: Tensor | None = None,  # [N, C]
    ) -> Rendering:
        """One view, differentiable in every Gaussian parameter and in the features."""
        ...

    def vote(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        labels: Tensor,  # [H, W] int32, -1 none
        *,
        most: int = 0,
    ) -> Votes:
        """The rendering weights of one view summed per Gaussian and label, without gradients, on the CPU.

        Args:
            most: Gaussians that count in a pixel: those at least as heavy as its `most`-th heaviest; 0 = all. What
                does not count gives neither votes nor visibility.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Densified:
    """Other Gaussians in place of those that were optimised so far."""

    gaussians: Gaussians  # [N']
    parent_of_gaussian: Tensor  # [N'] int64, which of those before it was, or was made from
    is_fresh: Tensor  # [N'] bool: it moved or was made, so that nothing is known of its gradients


class Densifier(Protocol):
    """Puts Gaussians where they are missing, and takes them from where they are of no use, during optimisation."""

    def densify(
        self,
        gaussians: Gaussians,
        pull: Tensor,  # [N] mean length of the loss's gradient by the projected centre, per half image
        views: Tensor,  # [N] that the mean is over: how many saw each since the last time
        *,
        extent: float,  # metres; the size of the scene
        limit: int,  # Gaussians that there may be afterwards, at least as many as there are
        generator: torch.Generator,
    ) -> Densified:
        """What to go on with; equal inputs and generators give equal results."""
        ...


class ImageSource(Protocol):
    """Images [H, W, 3] RGB uint8 by position, loaded when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


class Checkpoint(Protocol):
    """Where long work keeps what it has reached, so that a killed run goes on from there."""

    def load(self) -> Mapping[str, Tensor]:
        """What was saved last for the same work; empty if nothing was."""
        ...

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replaces what was saved, at once or not at all."""
        ...


class NoCheckpoint:
    """A checkpoint that keeps nothing."""

    def load(self) -> Mapping[str, Tensor]:
        return {}

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        pass


class Segmenter(Protocol):
    """Proposes masks for an image."""

    def propose(self, keyframe: Keyframe) -> MaskProposals: ...


class Encoder(Protocol):
    """Puts segments and texts into one language space, which it alone knows how to compare in."""

    @property
    def identity(self) -> str:
        """Names the space; recorded in every map."""
        ...

    @property
    def dim(self) -> int:
        """D."""
        ...

    @property
    def threshold(self) -> float:
        """The relevancy from which a thing answers a prompt where the user sets none."""
        ...

    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W]."""
        ...

    def understand(self, text: str) -> Prompt:
        """The text in this space, with the words that it has no meaning for."""
        ...

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        """How much each feature [..., D] looks like the prompt, [...] in [0, 1]; 0.5 is a tie."""
        ...


class Associator(Protocol):
    """Says which segments, across keyframes, show one thing."""

    def associate(self, segments: Segments, votes: Votes, table: VoteTable, tracks: Tracks) -> Tensor:
        """The track [M] int64 of each segment: known, -1 none, or len(tracks) and up for new ones.

        New tracks are numbered without gaps. `votes` counts the segments on the Gaussians, `table` the tracks.
        """
        ...

    def merge(self, table: VoteTable, tracks: Tracks) -> Tensor:
        """For each track [T] int64 the track that it turned out to be part of; itself when it stands alone."""
        ...


class CodebookFitter(Protocol):
    """Compresses language vectors to few entries."""

    def fit(
        self,
        features: Tensor,
        track_of_feature: Tensor,
        weight: Tensor,
        start: Codebook | None,
        progress: Progress = ...,
    ) -> Codebook:
        """A codebook for features [B, D] of tracks [B] with weights [B], continuing from `start` if given."""
        ...


class Lifter(Protocol):
    """Carries labels from views onto Gaussians."""

    def lift(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lifting:
        """The label of each Gaussian at every level; equal inputs and generators give equal results.

        A run that finds its own checkpoint goes on from there. Raises Cancelled from `progress`.
        """
        ...


class Propagator(Protocol):
    """Follows masks through a sequence of images, as a video model does."""

    def propagate(self, images: ImageSource, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        """Each following image's index with the masks there [K, H, W] bool; empty where a thing is not seen.

        Args:
            images: the images of a window, in order.
            start: the image that the masks belong to; it comes first in what is returned.
            masks: [K, H, W] bool, K >= 1.
            reverse: go back to the first image, not on to the last.
        """
        ...


def no_progress(stage: str, done: int, total: int, **figures: float) -> None:
    """A progress callback that says nothing."""
