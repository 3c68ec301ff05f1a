# SPDX-License-Identifier: Apache-2.0
"""The language half of a refine, on one page: segments of all keyframes become tracks, codes, and labels in 3D.

    associate   every segment of every keyframe gets a track
    label       a codebook is fitted to all of them; every segment gets a code
    lift        the labels are carried onto the Gaussians

Geometry is given; only a joint distillation changes it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ccl_lgs_ros.codebook.labels import labels_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.gaussians.optimize import is_held_out
from ccl_lgs_ros.gaussians.store import GaussianStore
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, Lifting, SegmentTable, painted
from ccl_lgs_ros.live import Joined, LiveLanguage
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.protocols import Checkpoint, NoCheckpoint, Progress, no_progress
from ccl_lgs_ros.recent import Recent
from ccl_lgs_ros.recollection import Recollection
from ccl_lgs_ros.storage.checkpoint import fingerprint
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticField, SemanticLevel
from ccl_lgs_ros.video_tracks import with_video

logger = logging.getLogger(__name__)

CACHED_VIEW_BYTES = 256 << 20  # some 250 views at 320x240


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """What a refine made of the language; it holds until the next keyframe."""

    levels: Mapping[str, SemanticLevel]
    field: SemanticField | None


def refined_language(
    gaussians: Gaussians,
    seen: Recollection,
    parts: Parts,
    config: MapConfig,
    checkpoint_of: Callable[[str], Checkpoint],
    progress: Progress,
) -> tuple[LiveLanguage, Refined, dict[str, object], Gaussians]:
    """All of it: the live state that later keyframes join, what was made, figures for the record, and the Gaussians,
    which are other ones only where the distillation trained them as well."""
    began = time.monotonic()
    live, tables = associate(gaussians, seen, parts, config, progress)
    associated: dict[str, object] = {"associate_seconds": round(time.monotonic() - began, 1)}
    lifting, levels, figures = refined(gaussians, seen, tables, parts, config, checkpoint_of, progress)
    made = Refined(levels=levels, field=lifting.field.to("cpu") if lifting.field else None)
    return live, made, {**associated, **figures}, lifting.gaussians


def associate(
    gaussians: Gaussians, seen: Recollection, parts: Parts, config: MapConfig, progress: Progress = no_progress
) -> tuple[LiveLanguage, dict[str, SegmentTable]]:
    """The segments of all keyframes by level, each with its track; and the live state that later keyframes join.

    Tracks come from shared Gaussians ("geometric"), from a video model ("tracker"), or from the first with the second
    as another vote.
    """
    live, store = LiveLanguage(parts, config.field.slots, len(gaussians)), GaussianStore(gaussians)
    rows: dict[str, list[Joined]] = {name: [] for name in parts.levels}
    features: dict[str, list[Tensor]] = {name: [] for name in parts.levels}
    weights: dict[str, list[Tensor]] = {name: [] for name in parts.levels}
    for index in range(len(seen)):
        view, segments = seen.view(index), seen.perceiver.segments(seen.keyframes[index])
        labels = seen.labels(index, segments)
        for name, joined in live.join(store.seen_by(view), view, segments, labels).items():
            rows[name].append(joined)
            features[name].append(segments[name].features)
            weights[name].append(joined.support * segments[name].quality)
        progress("associate", index + 1, len(seen))
    tables = {name: _table(rows[name], features[name], weights[name], live.roots(name)) for name in parts.levels}
    if parts.propagator is None:
        return live, tables
    return live, {name: with_video(table, name, seen, parts, config, progress) for name, table in tables.items()}


def lift(
    gaussians: Gaussians,
    seen: Recollection,
    tables: Mapping[str, SegmentTable],
    labels: Mapping[str, LevelLabels],
    parts: Parts,
    *,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> Lifting:
    """The labels of the segments carried onto the Gaussians."""
    views = _labelled_views(seen, tables, labels)
    return parts.lifter.lift(
        gaussians,
        views,
        labels,
        parts.rasterizer,
        generator=generator,
        checkpoint=checkpoint or NoCheckpoint(),
        progress=progress,
    )


def refined(
    gaussians: Gaussians,
    seen: Recollection,
    tables: Mapping[str, SegmentTable],
    parts: Parts,
    config: MapConfig,
    checkpoint_of: Callable[[str], Checkpoint] = lambda work: NoCheckpoint(),
    progress: Progress = no_progress,
) -> tuple[Lifting, dict[str, SemanticLevel], dict[str, object]]:
    """Codes for the tracks, then labels on the Gaussians: the lifting, its levels, and figures for the record."""
    began = time.monotonic()
    options = config.codebook
    labels: dict[str, LevelLabels] = {}
    for done, (name, table) in enumerate(tables.items()):
        labels[name] = labels_of(
            table,
            parts.fitter,
            vote_codes=options.vote_codes,
            track_feature=options.track_feature,
            progress=progress,
        )
        progress("codebook", done + 1, len(tables))
    fitted = time.monotonic()
    generator = torch.Generator().manual_seed(config.seed)
    made_from = [*gaussians.tensors().values(), *(level.label_of_row for level in labels.values())]
    checkpoint = checkpoint_of(f"{config.field} {config.seed} {fingerprint(*made_from)}")
    lifting = lift(
        gaussians, seen, tables, labels, parts, generator=generator, checkpoint=checkpoint, progress=progress
    )
    levels = {name: semantic_level(lifting, name, labels[name]) for name in labels}
    figures: dict[str, object] = {
        "codebook_seconds": round(fitted - began, 1),
        "lift_seconds": round(time.monotonic() - fitted, 1),
        "entries": {name: int((level.codebook.weight > 0).sum()) for name, level in levels.items()},
        **(lifting.figures or {}),
    }
    logger.info("semantics: %s", figures)
    return lifting, levels, figures


def semantic_level(lifting: Lifting, name: str, labels: LevelLabels) -> SemanticLevel:
    """A level of the map: its tracks are the labels that some Gaussian has, in their order."""
    labels = lifting.labels.get(name, labels)
    label = lifting.label_of_gaussian[name].cpu().long()
    used = torch.unique(label[label != NONE])
    number = torch.full((len(labels.code_of_label) + 1,), NONE, dtype=torch.int32)  # the last answers for -1
    number[used] = torch.arange(len(used), dtype=torch.int32)
    return SemanticLevel(
        track_of_gaussian=number[label],
        confidence=lifting.confidence[name].cpu(),
        entry_of_track=labels.code_of_label[used],
        codebook=labels.codebook,
        language=lifting.languages.get(name),
        uncertainty=lifting.uncertainty.get(name),
    )


def _table(rows: Sequence[Joined], features: Sequence[Tensor], weights: Sequence[Tensor], root: Tensor) -> SegmentTable:
    """The rows of a level, with the tracks that survive numbered without gaps."""
    counts = torch.tensor([0, *(len(joined.track) for joined in rows)])
    track = torch.cat([joined.track for joined in rows]) if rows else torch.zeros(0, dtype=torch.int64)
    survivors, number = torch.unique(root, return_inverse=True)
    renamed = torch.cat([number, number.new_tensor([NONE])]) if len(survivors) else number.new_tensor([NONE])
    return SegmentTable(
        features=torch.cat(list(features)) if features else torch.zeros(0, 1),
        track=renamed[track],
        weight=torch.cat(list(weights)) if weights else torch.zeros(0),
        start=counts.cumsum(0),
    )


def _labelled_views(
    seen: Recollection, tables: Mapping[str, SegmentTable], labels: Mapping[str, LevelLabels]
) -> Recent[LabelledView]:
    """The keyframes at working size with the label of each pixel."""

    def view(index: int) -> LabelledView:
        segments = seen.perceiver.segments(seen.keyframes[index])
        labels_of_pixels, maps, numbers = seen.labels(index, segments), {}, {}
        for name, table in tables.items():
            rows = slice(int(table.start[index]), int(table.start[index + 1]))
            maps[name] = painted(labels_of_pixels[name], labels[name].label_of_row[rows])
            numbers[name] = painted(labels_of_pixels[name], torch.arange(rows.start, rows.stop))
        gives_colour = not is_held_out(index, seen.holdout_every)
        return LabelledView(keyframe=seen.view(index), rows=numbers, labels=maps, gives_colour=gives_colour)

    return Recent(lambda: len(seen), view, CACHED_VIEW_BYTES, _view_bytes)


def _view_bytes(view: LabelledView) -> int:
    return view.keyframe.num_bytes + sum(
        labels.numel() * labels.element_size() for maps in (view.labels, view.rows) for labels in maps.values()
    )
