# SPDX-License-Identifier: Apache-2.0
"""A map under test: everything that the protocols of evaluation ask of it, drawn for several prompts at a time."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.asking import MIN_SHOWN_ALPHA, create_encoder, query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.evaluation.metrics import Mask
from ccl_lgs_ros.field_view import field_relevancies, field_view
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.query.relevancy import relevancy_of_gaussians, relevancy_of_tracks
from ccl_lgs_ros.structures import LEVELS, NONE, SemanticLevel, SemanticMap

CHANNELS_AT_ONCE = 16  # blended in one rendering; bounds memory


class MapSubject:
    """A map that is asked by `query_map` and shown by the rasterizer of the options."""

    def __init__(self, semantic_map: SemanticMap, config: MapConfig, threshold: float | None = None) -> None:
        self._map, self._config, self._threshold = semantic_map, config, threshold
        self._encoder = create_encoder(semantic_map, config)
        self._rasterizer, _ = configured_part("rasterizer", config)

    @property
    def means(self) -> NDArray[np.floating]:  # [N, 3] metres
        return self._map.gaussians.means.numpy(force=True)

    @property
    def scales(self) -> NDArray[np.floating]:  # [N, 3] metres
        return self._map.gaussians.scales.numpy(force=True)

    @property
    def opacities(self) -> NDArray[np.floating]:  # [N]
        return self._map.gaussians.opacities.numpy(force=True)

    def ask(self, prompt: str) -> Answer:
        """The instances of a prompt."""
        return query_map(self._map, prompt, self._config, self._encoder, threshold=self._threshold)

    def show(
        self, answers: Sequence[Answer], camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> list[tuple[Mask, NDArray[np.floating]]]:
        """The mask [H, W] of each answer and its relevancy [H, W] from a camera."""
        if self._config.query.view == "field":
            parts = self._encoder, self._rasterizer, camera, world_from_camera
            decoded = (field_view(self._map, found, *parts) for found in answers)
            return [(mask.numpy(force=True), relevancy.numpy(force=True)) for mask, relevancy in decoded]
        views = answer_views(self._map, answers, self._encoder, self._rasterizer, camera, world_from_camera)
        return [(mask.numpy(force=True), relevancy.numpy(force=True)) for mask, relevancy in views]

    def silhouette(
        self, answer: Answer, camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> NDArray[np.floating]:
        """The alpha [H, W] of the answer's Gaussians without any others."""
        chosen = torch.cat([instance.gaussian_ids for instance in answer.instances]).unique()
        with torch.no_grad():
            view = self._rasterizer.render(self._map.gaussians.select(chosen), camera, world_from_camera)
        return view.alpha.numpy(force=True)

    def relevancies(
        self, prompts: Sequence[str], camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> dict[str, NDArray[np.floating]]:  # level -> [P, H, W] in [0, 1]
        """The relevancy of each prompt at every level, finest first, seen from a camera."""
        understood = [self._encoder.understand(prompt) for prompt in prompts]
        see = field_relevancies if self._config.query.view == "field" else relevancy_views
        views = see(self._map, understood, self._encoder, self._rasterizer, camera, world_from_camera)
        return {name: images.numpy(force=True) for name, images in views.items()}

    def classes_of_gaussians(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The index [N] of the name whose text each Gaussian's language vector is nearest to by cosine, at whichever
        level it is nearer; -1 where a Gaussian has no track, or no name is understood."""
        prompts = [self._encoder.understand(name) for name in names]
        best = np.full(len(self._map.gaussians), -np.inf)
        found = np.full(len(self._map.gaussians), NONE, dtype=np.int64)
        for level in self._map.levels.values():
            if level.num_tracks and any(prompt.is_understood for prompt in prompts):
                cosine, name = (value.numpy(force=True) for value in _nearest_names(level, prompts))
                has_track = level.track_of_gaussian.numpy(force=True) != NONE
                nearer = has_track & (cosine > best) & np.isfinite(cosine)
                best[nearer], found[nearer] = cosine[nearer], name[nearer]
        return found


def answer_views(
    semantic_map: SemanticMap,
    answers: Sequence[Answer],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> list[tuple[Tensor, Tensor]]:
    """Answers seen from a camera, each as by `asking.answer_view`, several in one rendering.

    Returns:
        For each answer its mask [H, W] bool and its relevancy [H, W] in [0, 1].
    """
    channels = (channel for found in answers for channel in _answer_channels(semantic_map, found, encoder))
    shown, images = _shares(semantic_map, channels, rasterizer, camera, world_from_camera)
    masks, relevancies = images[::2], images[1::2]
    return [
        (shown & (mask > 0.5), relevancy.clamp(0.0, 1.0)) for mask, relevancy in zip(masks, relevancies, strict=True)
    ]


def relevancy_views(
    semantic_map: SemanticMap,
    prompts: Sequence[Prompt],
    encoder: Encoder,
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> dict[str, Tensor]:
    """The mean relevancy of what each pixel shows, for prompts at every level.

    What has no track, and pixels that show nothing, are as relevant as the least relevant track of the level: the
    published protocols are relative to the extremes of an image that has a language vector at every pixel, and a hole
    in the map must not become its minimum.

    Returns:
        level -> [P, H, W] in [0, 1].
    """
    found = {}
    for name in (name for name in LEVELS if name in semantic_map.levels):
        level = semantic_map.levels[name]
        relevancy = [encoder.relevancy(level.codebook.entries, prompt) for prompt in prompts]
        floors = [_least(relevancy_of_tracks(level, of_entry)) for of_entry in relevancy]
        above = (
            (relevancy_of_gaussians(level, of_entry) - floor).clamp_min(0.0)
            for of_entry, floor in zip(relevancy, floors, strict=True)
        )
        _, images = _shares(semantic_map, above, rasterizer, camera, world_from_camera)
        found[name] = torch.stack(
            [(image + floor).clamp(0.0, 1.0) for image, floor in zip(images, floors, strict=True)]
        )
    return found


def _shares(
    semantic_map: SemanticMap,
    channels: Iterable[Tensor],  # each [N]
    rasterizer: Rasterizer,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
) -> tuple[Tensor, list[Tensor]]:
    """Where anything is shown [H, W], and for each channel its mean over what a pixel shows [H, W], 0 elsewhere."""
    images: list[Tensor] = []
    pending = iter(channels)
    shown = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    while block := list(islice(pending, CHANNELS_AT_ONCE)):
        with torch.no_grad():
            view = rasterizer.render(semantic_map.gaussians, camera, world_from_camera, torch.stack(block, dim=1))
        shown = view.alpha > MIN_SHOWN_ALPHA
        share = view.features / view.alpha.clamp_min(MIN_SHOWN_ALPHA)[..., None]
        images += torch.where(shown[..., None], share, 0.0).unbind(dim=-1)
    return shown, images


def _answer_channels(semantic_map: SemanticMap, found: Answer, encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Which Gaussians [N] belong to the instances of an answer, and the relevancy [N] of all at its level."""
    chosen = torch.zeros(len(semantic_map.gaussians))
    for instance in found.instances:
        chosen[instance.gaussian_ids] = 1.0
    if not found.level:
        return chosen, torch.zeros_like(chosen)
    level = semantic_map.levels[found.level]
    return chosen, relevancy_of_gaussians(level, encoder.relevancy(level.codebook.entries, found.prompt))


def _least(relevancy_of_track: Tensor) -> float:
    return float(relevancy_of_track.min()) if len(relevancy_of_track) else 0.0


def _nearest_names(level: SemanticLevel, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """For each Gaussian [N] the highest cosine of its entry with a prompt that is understood, and which."""
    cosines = level.codebook.entries @ torch.stack([prompt.feature for prompt in prompts]).to(level.codebook.entries).T
    is_understood = torch.tensor([prompt.is_understood for prompt in prompts], device=cosines.device)
    of_track = cosines.masked_fill(~is_understood, -torch.inf).max(dim=1)
    entry = level.entry_of_track[level.track_of_gaussian.long()]  # of no track: any, and left out by the caller
    return of_track.values[entry].masked_fill(entry == NONE, -torch.inf), of_track.indices[entry]
