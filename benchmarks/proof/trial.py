# SPDX-License-Identifier: Apache-2.0
"""One room, mapped in every way: geometry once for each path, association once for each seed and strength."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.gaussians.optimize import psnr_report
from ccl_lgs_ros.labelling import SegmentTable
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.perceiving import Perceiver
from ccl_lgs_ros.recollection import Recollection
from ccl_lgs_ros.registry import create
from ccl_lgs_ros.semantics import associate, refined
from ccl_lgs_ros.structures import NONE, Segments
from ccl_lgs_ros.synthetic.perceived_features import NEAR_NAMES
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise
from ccl_lgs_ros.synthetic_perception import SyntheticPerception, SyntheticPropagator
from ccl_lgs_ros.video_tracks import with_video
from ccl_lgs_ros.working_size import WorkingSize
from proof.conditions import TRACKS, Condition, Plan
from proof.names import read_text_vectors
from proof.rooms import TrialRoom, absent_names, trial_room
from proof.scoring import figures, num_bytes, track_figures

SMALL_IMAGES = {  # what is given in pixels, for images a quarter as wide as the options are made for
    "gaussians.image_width": 160,
    "gaussians.seed_stride": 2,
    "masks.min_area_px": 10,
    "association.min_votes": 2.5,
    "field.checkpoint_every": 0,
}
PURITY_LEVEL = "wp"


class Memory:
    """Segments of keyframes, kept."""

    def __init__(self) -> None:
        self._kept: dict[int, Mapping[str, Segments]] = {}

    def load(self, keyframe_id: int) -> Mapping[str, Segments] | None:
        return self._kept.get(keyframe_id)

    def save(self, keyframe_id: int, segments: Mapping[str, Segments]) -> None:
        self._kept[keyframe_id] = segments


@dataclass(slots=True)
class _Seen:
    """What one kind of perception makes of a room, and its tracks by the names in TRACKS."""

    perception: SyntheticPerception
    memory: Recollection
    parts: Parts
    tables: dict[str, dict[str, SegmentTable]]
    seconds: dict[str, float]
    purity: dict[str, dict[str, float]]


def try_room(number: int, seed: int, wanted: Sequence[Condition], plan: Plan, say: Callable[[str], None]) -> list[dict]:
    """The figures of every condition, seed of the noise and strength in one room.

    Args:
        number: the room's place among all rooms; some conditions are for the first few.
        seed: of the room.
    """
    torch.set_num_threads(1)
    base = updated(
        MapConfig(),
        {
            **SMALL_IMAGES,
            "gaussians.iterations": plan.steps,
            "codebook.iterations": plan.codebook_steps,
            "field.iterations": plan.distill_steps,
        },
    )
    rasterizer, _ = configured_part("rasterizer", base)
    names, vectors = read_text_vectors(plan.models)
    found, rooms = [], {}
    for condition in wanted:
        if number < condition.rooms and condition.path not in rooms:
            rooms[condition.path] = trial_room(seed, condition.path, plan.keyframes, plan.views, base, rasterizer)
            say(f"room {seed}, {condition.path}: {len(rooms[condition.path].gaussians)} Gaussians")
    room_names = {name for room in rooms.values() for name in room.truths[0].names} - set(NEAR_NAMES)
    absent = absent_names(names, vectors, room_names)
    for noise_seed in plan.seeds:
        seen: dict[tuple, _Seen] = {}
        known: dict[tuple, dict] = {}  # conditions of different groups may be one
        for condition in wanted:
            if number >= condition.rooms or (condition.first_seed_only and noise_seed != plan.seeds[0]):
                continue
            room = rooms[condition.path]
            key = (condition.path, condition.strength, condition.has_true_masks)
            if key not in seen:
                seen[key] = _seen(room, names, vectors, condition, noise_seed, base, rasterizer)
            same = (
                *key,
                condition.tracks,
                condition.scores_colour,
                condition.sees_field,
                *sorted(condition.options.items()),
            )
            if same not in known:
                known[same] = _try(room, seen[key], condition, base, absent)
            found.append({"room": seed, "seed": noise_seed, "condition": condition.key, **known[same]})
        say(f"room {seed}, noise {noise_seed}: {len(found)} trials")
    return found


def _seen(
    room: TrialRoom,
    names: list[str],
    vectors: Any,
    condition: Condition,
    noise_seed: int,
    base: MapConfig,
    rasterizer: Any,
) -> _Seen:
    noise = PerceptionNoise().scaled(condition.strength)
    perception = SyntheticPerception(
        room=room.room,
        frames=room.frames,
        names=names,
        vectors=vectors,
        noise=noise.with_true_masks() if condition.has_true_masks else noise,
        seed=noise_seed,
        truths=room.truths,
    )
    parts = Parts(
        rasterizer=rasterizer,
        segmenter=perception,
        encoder=perception,
        live_associator=create("associator", "geometric", base.association),
        live_fitter=create("fitter", "online", base.codebook),
        live_lifter=create("lifter", "registration", base.field),
        fitter=create("fitter", "online", base.codebook),
        lifter=create("lifter", "registration", base.field),
    )
    memory = Recollection(
        keyframes=room.keyframes,
        perceiver=Perceiver(perception, perception, base.masks, Memory()),
        working_size=WorkingSize(base.gaussians.image_width),
        count=len(room.keyframes),
    )
    began = time.monotonic()
    for keyframe in room.keyframes:
        memory.perceiver.segments(keyframe)
    perceived = time.monotonic()
    _, tables = associate(room.gaussians, memory, parts, base)
    seconds = {"perceive": perceived - began, "geometric": time.monotonic() - perceived}
    none = {name: replace(table, track=torch.full_like(table.track, NONE)) for name, table in tables.items()}
    return _Seen(perception, memory, parts, {"geometric": tables, "none": none}, seconds, {})


def _tracks(room: TrialRoom, seen: _Seen, name: str, base: MapConfig) -> dict[str, SegmentTable]:
    """The tables of a way to make tracks; made once."""
    if name not in seen.tables:
        options = {f"association.{key}": value for key, value in TRACKS[name].items()}
        config = updated(base, options)
        parts = replace(seen.parts, propagator=SyntheticPropagator(seen.perception))
        began = time.monotonic()
        seen.tables[name] = {
            level: with_video(table, level, seen.memory, parts, config, lambda *_, **__: None)
            for level, table in seen.tables["geometric"].items()
        }
        own = time.monotonic() - began
        seen.seconds[name] = own + (seen.seconds["geometric"] if name.startswith("geometric") else 0.0)
    if name not in seen.purity:
        table = seen.tables[name][PURITY_LEVEL]
        seen.purity[name] = track_figures(table, PURITY_LEVEL, room, seen.memory.perceiver)
    return seen.tables[name]


def _try(room: TrialRoom, seen: _Seen, condition: Condition, base: MapConfig, absent: Sequence[str]) -> dict:
    config = updated(base, dict(condition.options))
    tables = _tracks(room, seen, condition.tracks, base)
    context = {"device": torch.device("cpu"), "download": False, "seed": 0}
    parts = replace(
        seen.parts,
        fitter=create("fitter", config.codebook.fitter, config.codebook, **context),
        lifter=create("lifter", config.field.lifter, config.field, **context),
    )
    lifting, levels, timed = refined(room.gaussians, seen.memory, tables, parts, config)
    began = time.monotonic()
    with torch.no_grad():
        field = lifting.field if condition.sees_field else None
        scores = figures(levels, lifting.gaussians, room, absent, seen.perception, parts.rasterizer, field)
    result: dict[str, Any] = {
        "scores": scores,
        "tracks": seen.purity[condition.tracks],
        "seconds": {
            "gaussians": room.seconds,
            "perceive": seen.seconds["perceive"],
            "associate": seen.seconds.get(condition.tracks, 0.0),
            "codebook": timed["codebook_seconds"],
            "lift": timed["lift_seconds"],
            "score": time.monotonic() - began,
        },
        "bytes": num_bytes(levels),
        "gaussians": len(lifting.gaussians),
        "codes": timed["entries"],
    }
    if condition.scores_colour:
        held_out = list(range(len(room.views)))
        result["psnr"] = psnr_report(lifting.gaussians, room.views, parts.rasterizer, held_out)["psnr"]
    return result
