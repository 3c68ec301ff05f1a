# SPDX-License-Identifier: Apache-2.0
"""A map under test: everything that the protocols of evaluation ask of it, drawn for several prompts at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.answer_views import answer_views, relevancy_views
from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.evaluation.metrics import Mask
from ccl_lgs_ros.field_view import field_relevancies, field_view
from ccl_lgs_ros.pictures import Image, rendered_color
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap


class MapSubject:
    """A map that is asked by `query_map` and shown by the rasterizer of the options.

    Args:
        encoder: of the map's language; made from the map's record if not given.
    """

    def __init__(
        self,
        semantic_map: SemanticMap,
        config: MapConfig,
        threshold: float | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self._map, self._config, self._threshold = semantic_map, config, threshold
        self._encoder, self._index = encoder or create_encoder(semantic_map, config), MapIndex(semantic_map)
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
        return query_map(self._map, prompt, self._config, self._encoder, threshold=self._threshold, index=self._index)

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

    def picture(self, camera: Camera, world_from_camera: NDArray[np.float64]) -> Image:
        """The colours [H, W, 3] of the map from a camera."""
        with torch.no_grad():
            view = self._rasterizer.render(self._map.gaussians, camera, world_from_camera)
        return rendered_color(view.color.numpy(force=True))

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


def _nearest_names(level: SemanticLevel, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """For each Gaussian [N] the highest cosine of its entry with a prompt that is understood, and which."""
    cosines = level.codebook.entries @ torch.stack([prompt.feature for prompt in prompts]).to(level.codebook.entries).T
    is_understood = torch.tensor([prompt.is_understood for prompt in prompts], device=cosines.device)
    of_track = cosines.masked_fill(~is_understood, -torch.inf).max(dim=1)
    entry = level.entry_of_track[level.track_of_gaussian.long()]  # of no track: any, and left out by the caller
    return of_track.values[entry].masked_fill(entry == NONE, -torch.inf), of_track.indices[entry]
