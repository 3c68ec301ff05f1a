# SPDX-License-Identifier: Apache-2.0
"""What each exchangeable part must offer. Parts are found by name through registry.py.

A part is a class whose constructor takes keyword arguments only, named like the options of its group in
config.py; the registry passes the options that the constructor asks for.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.camera import Camera, Keyframe
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
    ) -> Votes:
        """The rendering weights of one view summed per Gaussian and label, without gradients."""
        ...


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

    def fit(self, features: Tensor, track_of_feature: Tensor, weight: Tensor, start: Codebook | None) -> Codebook:
        """A codebook for features [B, D] of tracks [B] with weights [B], continuing from `start` if given."""
        ...


class Lifter(Protocol):
    """Carries tracks from images onto Gaussians."""

    def accumulate(self, table: VoteTable, votes: Votes) -> VoteTable:
        """The table with one keyframe's votes, whose labels are tracks, added."""
        ...

    def resolve(self, table: VoteTable) -> tuple[Tensor, Tensor]:
        """Per Gaussian the track [N] int32 (-1 none) and its confidence [N] uint8."""
        ...


def no_progress(stage: str, done: int, total: int, **figures: float) -> None:
    """A progress callback that says nothing."""
