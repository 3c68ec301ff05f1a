# SPDX-License-Identifier: Apache-2.0
"""Perception of a synthetic room with the errors of real models: a segmenter, an encoder and a propagator in one place.

Used by the evaluation alone; no option names it.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.perception.text_relevancy import text_relevancy
from ccl_lgs_ros.protocols import ImageSource
from ccl_lgs_ros.structures import MaskProposals
from ccl_lgs_ros.synthetic.followed_masks import followed_masks
from ccl_lgs_ros.synthetic.perceived_features import ImageTower
from ccl_lgs_ros.synthetic.perceived_masks import perceived_masks
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import RoomFrame
from ccl_lgs_ros.synthetic.truth import FrameTruth, RoomTruth

SHARPNESS = 10.0  # LERF's inverse temperature


class SyntheticPerception:
    """Sees the frames of one room, and only those, as a segmenter and an image-text model would.

    Frames are known by their image, as an encoder is given nothing else.

    Args:
        room: whose truth it is.
        frames: all that will be shown.
        names, vectors: real text vectors [n, D] of an image-text model, and what they name.
        noise: how far what it says is from the truth.
        seed: of the noise.
        threshold: relevancy from which a thing answers a prompt.
        knows_parts: segments of parts look like what the parts are called.
    """

    def __init__(
        self,
        *,
        room: Room,
        frames: Sequence[RoomFrame],
        names: Sequence[str],
        vectors: NDArray[np.floating],
        noise: PerceptionNoise,
        seed: int = 0,
        threshold: float = 0.5,
        truths: Sequence[FrameTruth] = (),
        knows_parts: bool = False,
    ) -> None:
        truth = RoomTruth(room)
        self.truths = tuple(truths) or tuple(truth.of(frame) for frame in frames)
        self.noise, self.seed, self.threshold = noise, seed, threshold
        self.tower = ImageTower(names, vectors, noise, seed, knows_parts=knows_parts)
        self._index = {_digest(frame.image): index for index, frame in enumerate(frames)}
        negative = self.tower.mean / np.linalg.norm(self.tower.mean)
        self._negatives = torch.from_numpy(negative[None].astype(np.float32))

    @property
    def identity(self) -> str:
        """Names the space: that of the text vectors."""
        return f"synthetic/{len(self.tower.row)}x{self.dim}"

    @property
    def dim(self) -> int:
        """D."""
        return self.tower.dim

    def propose(self, keyframe: Keyframe) -> MaskProposals:
        """Masks of a frame of the room."""
        index = self.index_of(keyframe.image)
        return perceived_masks(self.truths[index], self.noise, (self.seed, index))

    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W] of a frame of the room."""
        index = self.index_of(image)
        return self.tower.features(self.truths[index], labels.cpu().numpy(), count, (self.seed, index))

    def understand(self, text: str) -> Prompt:
        """The text vector of a name; a name that the tables lack is an unknown word."""
        if not self.tower.knows(text):
            return Prompt(text=text, feature=torch.zeros(self.dim), unknown_words=(text,), encoder=self.identity)
        feature = torch.from_numpy(self.tower.text(text).astype(np.float32))
        return Prompt(text=text, feature=feature, encoder=self.identity)

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        """[...] pairwise relevancy against the mean of all names, which stands for "object"."""
        if not prompt.is_understood:
            return torch.zeros(features.shape[:-1])
        return text_relevancy(features, prompt.feature, self._negatives, sharpness=SHARPNESS, form="pairwise")

    def index_of(self, image: NDArray[np.uint8]) -> int:
        """The frame that an image belongs to.

        Raises:
            ValueError: if it is none of the room's.
        """
        index = self._index.get(_digest(image))
        if index is None:
            raise ValueError("image: expected one of the frames that this perception was made with")
        return index


class SyntheticPropagator:
    """Follows masks through frames of a room as a video model would."""

    def __init__(self, perception: SyntheticPerception) -> None:
        self._perception = perception

    def propagate(self, images: ImageSource, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        """Each following image's index with the masks there [K, H, W]; the prompted image first."""
        order = range(start, -1, -1) if reverse else range(start, len(images))
        known = self._perception
        at = [known.index_of(images[index]) for index in order]
        key = (known.seed, at[0], int(reverse))
        found = followed_masks([known.truths[index] for index in at], masks.cpu().numpy(), known.noise, key)
        for index, there in zip(order, found, strict=True):
            yield index, torch.from_numpy(there)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=12).digest()
