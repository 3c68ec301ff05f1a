# SPDX-License-Identifier: Apache-2.0
"""A recipe in a place: what it makes of the same Gaussians, masks and features, and the figures of that."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from proof.trial import Memory

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.evaluation.instances import bulk, owners
from ccl_lgs_ros.evaluation.protocols import fixed_threshold
from ccl_lgs_ros.gaussians.psnr import psnr_report
from ccl_lgs_ros.labelling import Lifting, SegmentTable
from ccl_lgs_ros.map_record import made_with
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.parts import Parts, create_parts
from ccl_lgs_ros.perceiving import Perceiver
from ccl_lgs_ros.recipes import recipe
from ccl_lgs_ros.recollection import Recollection
from ccl_lgs_ros.semantics import associate, refined
from ccl_lgs_ros.structures import SemanticLevel, SemanticMap
from ccl_lgs_ros.synthetic_perception import SyntheticPerception, SyntheticPropagator
from ccl_lgs_ros.working_size import WorkingSize
from compared.places import Place, Plan, seconds_since

SHARED = ("keyframes", "gaussians", "rendering", "perception", "frames", "ingest", "navigation")  # of all recipes
BUILTIN = {"perception.segmenter": "builtin", "perception.encoder": "builtin", "device": "cpu"}
ANSWERS = ("miou", "miou_3d", "volume_miou_3d", "loc_acc", "view_consistency", "false_alarm_rate", "ap50")
PER_GAUSSIAN = 3  # bytes of a level: two for the track, one for confidence


class Trials:
    """The recipes in one place, seen once: what recipes have in common is made once."""

    def __init__(self, place: Place, seed: int, plan: Plan) -> None:
        self._place, self._plan = place, plan
        self._perception = place.perceptions[seed]
        self._seen: dict[Hashable, Recollection] = {}
        self._tables: dict[Hashable, tuple[dict[str, SegmentTable], float]] = {}

    def of(self, name: str) -> dict[str, Any]:
        """What a recipe costs, and under "answers" what its answers are worth at each threshold; '' = the default.

        None where a place has no truth for a figure.
        """
        place, config = self._place, config_at(self._place, name, self._plan, self._perception is not None)
        parts = _parts(config, self._perception)
        seen = self._recollection(config, parts)
        tables, joining = self._associated(config, parts, seen)
        began = time.monotonic()
        lifting, levels, _ = refined(place.gaussians, seen, tables, parts, config)
        refining = seconds_since(began)
        semantic_map = SemanticMap(
            gaussians=lifting.gaussians.detached(),
            levels=levels,
            encoder=parts.encoder.identity,
            field=lifting.field,
            map_up=config.frames.map_up,
            info=made_with(config, {}),
        )
        with torch.no_grad():
            return {
                "answers": [_answers(semantic_map, config, parts, place, threshold) for threshold in place.thresholds],
                "query_ms": _query_ms(MapSubject(semantic_map, config, encoder=parts.encoder), place.prompts),
                "seconds_per_keyframe": joining / len(place.keyframes),
                "refine_seconds": refining,
                "bytes_per_gaussian": num_bytes(levels, lifting),
                "psnr": psnr_report(lifting.gaussians, place.shown, parts.rasterizer, range(len(place.shown)))["psnr"],
            }

    def _recollection(self, config: MapConfig, parts: Parts) -> Recollection:
        if config.masks not in self._seen:
            keyframes = self._place.keyframes
            seen = Recollection(
                keyframes=keyframes,
                perceiver=Perceiver(parts.segmenter, parts.encoder, config.masks, Memory()),
                working_size=WorkingSize(config.gaussians.image_width),
                count=len(keyframes),
            )
            for index in range(len(keyframes)):
                seen.perceiver.segments(keyframes[index])
            self._seen[config.masks] = seen
        return self._seen[config.masks]

    def _associated(self, config: MapConfig, parts: Parts, seen: Recollection) -> tuple[dict[str, SegmentTable], float]:
        """Tables with tracks, and the seconds that they took; what the models take is left out."""
        key = config.masks, config.association, config.field.slots
        if key not in self._tables:
            began = time.monotonic()
            _, tables = associate(self._place.gaussians, seen, parts, config)
            self._tables[key] = tables, seconds_since(began)
        return self._tables[key]


def config_at(place: Place, name: str, plan: Plan, has_video: bool) -> MapConfig:
    """The options of a recipe with what is shared here: geometry, perception, sizes in pixels, steps at most."""
    common = updated(MapConfig(), {**place.settings, **BUILTIN})
    config = replace(recipe(name), device=common.device, **{group: getattr(common, group) for group in SHARED})
    steps = {"field.iterations": min(config.field.iterations, plan.train_steps)}
    small = {key: value for key, value in place.settings.items() if key.startswith(("masks.", "association."))}
    config = updated(config, {**steps, **small, "field.checkpoint_every": 0, "query.threshold": 0.0})
    return config if has_video else updated(config, without_video(config))


def without_video(config: MapConfig) -> dict[str, object]:
    """Options under which no video model is needed."""
    found: dict[str, object] = {"association.second_vote": "none"}
    if config.association.associator == "tracker":
        found["association.associator"] = "geometric"
    return found


def num_bytes(levels: dict[str, SemanticLevel], lifting: Lifting) -> float:
    """Of language on a Gaussian, all levels and the features of the field; codebooks and networks are left out."""
    total = 0.0
    for level in levels.values():
        total += PER_GAUSSIAN + (level.uncertainty is not None)
        total += level.language.bytes_per_gaussian if level.language is not None else 0
    fields = lifting.field.features.values() if lifting.field is not None else ()
    return total + sum(features[:1].numel() * features.element_size() for features in fields)


def _parts(config: MapConfig, perception: SyntheticPerception | None) -> Parts:
    parts = create_parts(updated(config, without_video(config)))
    if perception is None:
        return parts
    needs_video = "tracker" in (config.association.associator, config.association.second_vote)
    propagator = SyntheticPropagator(perception) if needs_video else None
    return replace(parts, segmenter=perception, encoder=perception, propagator=propagator)


def _answers(
    semantic_map: SemanticMap, config: MapConfig, parts: Parts, place: Place, threshold: float
) -> dict[str, float | None]:
    """The figures of the answers above a threshold: all prompts that are in view, and some for what is not there."""
    subject, surface = MapSubject(semantic_map, config, threshold or None, parts.encoder), place.surface
    owner = None if surface is None else owners(subject.means, surface.points, surface.objects)
    weight = bulk(subject.scales, subject.opacities)
    scores = fixed_threshold(subject, place.views, place.objects, place.absent, owner=owner, weight=weight).to_json()
    return {figure: scores[figure] for figure in ANSWERS}


def _query_ms(subject: MapSubject, prompts: Sequence[str]) -> float:
    """What one of the prompts takes, the median of all."""
    took = []
    for prompt in prompts:
        began = time.perf_counter()
        subject.ask(prompt)
        took.append(time.perf_counter() - began)
    return 1e3 * float(np.median(took))
