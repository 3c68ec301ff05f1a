# SPDX-License-Identifier: Apache-2.0
"""Language features from OpenCLIP models: segments as masked crops and texts in one space."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.answers import Prompt
from ccl_lgs_ros.perception.clip_models import ClipSource, build, problem
from ccl_lgs_ros.perception.crops import masked_crops
from ccl_lgs_ros.perception.text_relevancy import ensemble, negative_texts, phrased, prompt_templates, text_relevancy

TEXTS_KEPT = 1024  # embeddings of the texts that were asked last


class ClipEncoder:
    """Segments and texts as unit vectors of an OpenCLIP model.

    Args:
        encoder_model: an architecture of the package; empty = ViT-B-16.
        encoder_checkpoint: a tag or a file with its weights; empty = laion2b_s34b_b88k for ViT-B-16, else the first
            tag of the model; "random" = untrained.
        negatives, templates, relevancy, sharpness: as in options.py.

    Raises:
        MissingDependencyError: if the package or the weights are missing, with the command that gets them.
        WeightsError: if the file does not hold the weights of this model.

    Source: CCL-LGS, 2025, section 3.2: F = CLIP(I * M), with the crops of LangSplat.
    """

    def __init__(
        self,
        *,
        encoder_model: str = "",
        encoder_checkpoint: str = "",
        encoder_batch: int = 32,
        negatives: str = "object,things,stuff,texture",
        templates: str = "{}",
        relevancy: str = "pairwise",
        sharpness: float = 10.0,
        device: torch.device,
        download: bool = False,
        seed: int = 0,
    ) -> None:
        self._negatives, self._templates = negative_texts(negatives), prompt_templates(templates)
        self._form, self._sharpness = relevancy, sharpness
        self._batch = encoder_batch
        self._model = build(ClipSource(encoder_model, encoder_checkpoint, download), device, seed)
        self._text_of: dict[str, Tensor] = {}

    @staticmethod
    def is_available(*, encoder_model: str, encoder_checkpoint: str, download: bool) -> str:
        """Why it does not work here with these options, in one sentence; empty where it does."""
        return problem(ClipSource(encoder_model, encoder_checkpoint, download))

    @property
    def identity(self) -> str:
        return self._model.identity

    @property
    def dim(self) -> int:
        return self._model.dim

    @property
    def threshold(self) -> float:
        return 0.5  # no more like the prompt than like something generic

    @torch.no_grad()
    def encode_segments(self, image: NDArray[np.uint8], labels: Tensor, count: int) -> Tensor:
        """Unit features [M, D] of the segments 0 to count - 1 of a label map [H, W]; zeros where there is no pixel."""
        if tuple(labels.shape) != image.shape[:2]:
            raise ValueError(f"labels: expected {image.shape[:2]}, got {tuple(labels.shape)}")
        features = torch.zeros(count, self.dim)
        crops = masked_crops(image, labels, count, self._model.image_size, self._model.interpolation)
        for segments, pixels in crops.batches(self._batch):
            features[segments] = normalize(self._model.encode_images(pixels).float(), dim=1).cpu()
        return features

    def understand(self, text: str) -> Prompt:
        """The text in this space; the model has a vector for any text, so that no word is unknown."""
        return Prompt(text=text, feature=self._embedded(text), unknown_words=(), encoder=self.identity)

    def relevancy(self, features: Tensor, prompt: Prompt) -> Tensor:
        """How much each feature [..., D] looks like the prompt rather than like generic words, [...] in (0, 1)."""
        return text_relevancy(
            features, prompt.feature, self._negative_vectors, sharpness=self._sharpness, form=self._form
        )

    @cached_property
    def _negative_vectors(self) -> Tensor:  # [P, D]
        return torch.stack([self._embedded(text) for text in self._negatives])

    @torch.no_grad()
    def _embedded(self, text: str) -> Tensor:  # [D]
        """The mean of the text in every template, computed once per text."""
        if text not in self._text_of:
            while len(self._text_of) >= TEXTS_KEPT:
                del self._text_of[next(iter(self._text_of))]
            vectors = self._model.encode_texts(phrased(text, self._templates))
            self._text_of[text] = ensemble(vectors.float()).cpu()
        return self._text_of[text]
