# SPDX-License-Identifier: Apache-2.0
"""One version of a map with all that it takes to show and to ask it; a new version is a new subject."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import answer_view
from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.boxes_in_pictures import with_box
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.navigating import Surroundings, find_approaches
from ccl_lgs_ros.navigation.approach import Approaches
from ccl_lgs_ros.pictures import Image, with_mask
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.query.relevancy import relevancy_at
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.viewer.splats import Splats

PICTURE_WIDTH = 480  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a page asks."""

    text: str
    threshold: float | None = None  # None = the encoder's own
    level: str = "auto"
    max_instances: int | None = None  # None = as configured
    seen_from: NDArray[np.float64] | None = None  # [4, 4] world_from_viewer, for "left" and "behind"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """See the module. Pages ask from threads of their own; one question is answered at a time."""

    semantic_map: SemanticMap
    config: MapConfig
    splats: Splats
    index: MapIndex
    is_ready: Callable[[], bool]  # to be asked
    encoder: Callable[[], Encoder]  # waits for it; raises where it cannot be had
    rasterizer: Callable[[], Rasterizer]  # the same
    views: ViewedFrom
    store: KeyframeStore
    around: Callable[[], Surroundings]  # takes a second when it is first asked for
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: Question) -> Answer:
        """The answer to a question; raises as `query_map`."""
        encoder = self.encoder()
        with self._turn:
            return query_map(
                self.semantic_map,
                question.text,
                self.config,
                encoder,
                threshold=question.threshold,
                level=question.level,
                max_instances=question.max_instances,
                index=self.index,
                views=self.views,
                seen_from=question.seen_from,
            )

    def relevancy(self, found: Answer) -> NDArray[np.float32]:
        """How relevant each Gaussian [N] is to an answer's prompt, at the answer's level; 0 where there is none."""
        if found.level not in self.semantic_map.levels:
            return np.zeros(len(self.semantic_map.gaussians), np.float32)
        level = self.semantic_map.levels[found.level]
        return relevancy_at(level, self.encoder(), found.prompt).numpy()

    def picture(self, found: Answer, instance: Instance, keyframe_id: int) -> Image:
        """A keyframe's photo with the box of an instance and, where something can draw it, its mask."""
        entry = self.store.entries[keyframe_id]
        photo = self.photo(keyframe_id)
        camera = entry.camera.resized(photo.shape[1], photo.shape[0])
        alone = replace(found, instances=(instance,))
        try:
            drawn = (self.semantic_map, alone, self.encoder(), self.rasterizer(), camera, entry.world_from_camera)
            with self._turn:
                mask, _ = answer_view(*drawn)
            photo = with_mask(photo, mask.numpy())
        except CclLgsError:  # no rasterizer works here: the box says where it is
            pass
        return with_box(photo, instance.box, camera, entry.world_from_camera, f"{instance.score:.2f}")

    def approaches(self, instance: Instance) -> Approaches:
        """Where a robot would stand to deal with an instance."""
        with self._turn:
            return find_approaches(instance, self.around(), self.config)

    def photo(self, keyframe_id: int) -> Image:
        """A keyframe's image, small enough for a panel."""
        image = self.store[keyframe_id].image
        width = min(PICTURE_WIDTH, image.shape[1])
        return cv2.resize(image, (width, round(image.shape[0] * width / image.shape[1])), interpolation=cv2.INTER_AREA)
