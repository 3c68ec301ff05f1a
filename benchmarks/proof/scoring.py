# SPDX-License-Identifier: Apache-2.0
"""The figures of one mapped room, at every threshold at once.

A prompt is answered at the level that holds its best evidence, by the codes above the threshold that enough Gaussians
carry. The mask of an answer is where these Gaussians have more than half of the rendered weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.evaluation.metrics import mask_iou
from ccl_lgs_ros.field.decoder import decoded_codes
from ccl_lgs_ros.labelling import SegmentTable
from ccl_lgs_ros.perceiving import Perceiver
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticField, SemanticLevel
from proof.rooms import MIN_SHARE, TrialRoom

THRESHOLDS = np.round(np.arange(0.40, 0.80, 0.02), 2)
MIN_GAUSSIANS = 15  # that an answer has at least
AT_ONCE = 64  # codes that are drawn in one rendering
MIN_ALPHA = 0.05  # of a pixel that shows anything
Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """The codes that one level's Gaussians carry."""

    code_of_gaussian: NDArray[np.int64]  # [N] position among the used codes, -1 none
    used: torch.Tensor  # [C] the codes
    entries: torch.Tensor  # [C, D] of the used codes
    size: NDArray[np.int64]  # [C] Gaussians of each


def figures(
    levels: Mapping[str, SemanticLevel],
    gaussians: Gaussians,
    room: TrialRoom,
    absent: Sequence[str],
    encoder: Encoder,
    rasterizer: Rasterizer,
    field: SemanticField | None = None,
) -> dict[str, list[float]]:
    """By name the figures [n] at the thresholds: miou, consistency, false_alarms, iou_3d.

    With a field, masks are where its decoded views show the codes, as in the paper.
    """
    coded = {name: _coded(level) for name, level in levels.items()}
    weights = {
        name: [
            _weights(level, gaussians, view, rasterizer)
            if field is None
            else _decoded(level, name, field, gaussians, view, rasterizer)
            for view in room.views
        ]
        for name, level in coded.items()
    }
    ious, consistencies, solid = [], [], []
    for kind in room.kinds:
        name, relevancy = _best_level(coded, kind, encoder)
        order = np.argsort(-relevancy, kind="stable")
        counts = (relevancy[None] > THRESHOLDS[:, None]).sum(1)  # [n] codes that answer
        masks = [_masks(*drawn, order, counts) for drawn in weights[name]]
        for truth, found in zip(room.view_truths, masks, strict=True):
            here = room.has_kind(truth, kind)
            if here.mean() > MIN_SHARE:
                ious.append([mask_iou(mask, here) for mask in found])
        consistencies.append([room.pairs.consistencies([found[i] for found in masks]) for i in range(len(counts))])
        solid.append(_solid_ious(coded[name], order, counts, kind, room))
    alarms = [_best_level(coded, prompt, encoder)[1].max(initial=0.0) > THRESHOLDS for prompt in absent]
    joined = [[value for of_kind in consistencies for value in of_kind[i]] for i in range(len(THRESHOLDS))]
    return {
        "miou": np.mean(ious, axis=0).tolist(),
        "consistency": [float(np.mean(values)) if values else 0.0 for values in joined],
        "false_alarms": np.mean(alarms, axis=0).tolist(),
        "iou_3d": np.mean(solid, axis=0).tolist(),
    }


def track_figures(table: SegmentTable, level: str, room: TrialRoom, perceiver: Perceiver) -> dict[str, float]:
    """Purity of the tracks of objects, completeness of the objects in them, and the share of segments without a track.

    A segment is an object's where most of its pixels are.
    """
    objects = np.concatenate(
        [
            _object_of_segment(perceiver.segments(keyframe)[level].labels.numpy(), truth.things, truth.num_objects)
            for keyframe, truth in zip(room.keyframes, room.truths, strict=True)
        ]
    )
    track = table.track.numpy()
    tracked = track != NONE
    purity, weight = [], []
    for which in np.unique(track[tracked]):
        held = objects[track == which]
        if (held != NONE).mean() >= 0.5:
            purity.append(np.unique(held, return_counts=True)[1].max() / len(held))
            weight.append(len(held))
    complete = []
    for thing in np.unique(objects[objects != NONE]):
        own = track[objects == thing]
        held = own[own != NONE]
        complete.append(np.unique(held, return_counts=True)[1].max() / len(own) if len(held) else 0.0)
    return {
        "purity": float(np.average(purity, weights=weight)) if purity else 0.0,
        "completeness": float(np.mean(complete)) if complete else 0.0,
        "untracked": float((~tracked[objects != NONE]).mean()) if (objects != NONE).any() else 0.0,
    }


def num_bytes(levels: Mapping[str, SemanticLevel]) -> int:
    """Of the semantics as a snapshot holds them: two bytes for a track, one for confidence, tables, codebooks."""
    return sum(
        3 * len(level.confidence) + 2 * len(level.entry_of_track) + 2 * level.codebook.entries.numel()
        for level in levels.values()
    )


def _coded(level: SemanticLevel) -> Coded:
    track = level.track_of_gaussian.long()
    code = torch.full_like(track, NONE)
    code[track != NONE] = level.entry_of_track[track[track != NONE]]
    used, position = torch.unique(code, return_inverse=True)
    skipped = int((used == NONE).sum())
    return Coded(
        code_of_gaussian=(position - skipped).numpy(),
        used=used[used != NONE],
        entries=level.codebook.entries[used[used != NONE]],
        size=torch.bincount(position, minlength=len(used))[skipped:].numpy(),
    )


def _best_level(coded: Mapping[str, Coded], prompt: str, encoder: Encoder) -> tuple[str, Floats]:
    """The level of the best evidence for a prompt, and the relevancy [C] of its codes; 0 where Gaussians are few."""
    asked = encoder.understand(prompt)
    found = {
        name: np.where(level.size >= MIN_GAUSSIANS, encoder.relevancy(level.entries, asked).numpy(), 0.0)
        for name, level in coded.items()
    }
    best = max(found, key=lambda name: found[name].max(initial=0.0))
    return best, found[best]


def _weights(level: Coded, gaussians: Gaussians, view: Keyframe, rasterizer: Rasterizer) -> tuple[Floats, Floats]:
    """The rendered weight [H, W, C] of each code in a view, and alpha [H, W]."""
    drawn, alpha = [], None
    code = torch.from_numpy(level.code_of_gaussian)
    for first in range(0, max(len(level.size), 1), AT_ONCE):
        some = torch.arange(first, min(first + AT_ONCE, len(level.size)))
        rendering = rasterizer.render(
            gaussians, view.camera, view.world_from_camera, (code[:, None] == some[None]).float()
        )
        drawn.append(rendering.features.numpy())
        alpha = rendering.alpha.numpy()
    assert alpha is not None
    return np.concatenate(drawn, axis=2), alpha


def _decoded(
    level: Coded, name: str, field: SemanticField, gaussians: Gaussians, view: Keyframe, rasterizer: Rasterizer
) -> tuple[Floats, Floats]:
    """As `_weights`, all of a pixel's for the code that the field decodes there."""
    rendering = rasterizer.render(gaussians, view.camera, view.world_from_camera, field.features[name])
    codes = decoded_codes(field, name, rendering.features, rendering.alpha)
    alpha = rendering.alpha.numpy()
    return (codes[..., None] == level.used).numpy() * alpha[..., None], alpha


def _masks(
    weight: Floats, alpha: Floats, order: NDArray[np.int64], counts: NDArray[np.int64]
) -> list[NDArray[np.bool_]]:
    """The mask [H, W] of the first codes of an order, for each of some counts [n]."""
    most = int(counts.max(initial=0))
    summed = np.cumsum(weight[..., order[:most]], axis=2)
    nothing = np.zeros(alpha.shape, np.bool_)
    made = {int(n): (summed[..., n - 1] > 0.5 * alpha) & (alpha > MIN_ALPHA) if n else nothing for n in set(counts)}
    return [made[int(n)] for n in counts]


def _solid_ious(
    level: Coded, order: NDArray[np.int64], counts: NDArray[np.int64], kind: str, room: TrialRoom
) -> list[float]:
    """IoU over Gaussians at each threshold."""
    truth = np.isin(room.object_of_gaussian.numpy(), [i for i, name in enumerate(room.object_kinds) if name == kind])
    return [mask_iou(np.isin(level.code_of_gaussian, order[:n]), truth) for n in counts]


def _object_of_segment(labels: NDArray[np.int32], things: NDArray[np.int32], num_objects: int) -> NDArray[np.int64]:
    count = int(labels.max()) + 1 if labels.size else 0
    shown = np.zeros((count, int(things.max()) + 1), np.int64)
    np.add.at(shown, (labels[labels != NONE], things[labels != NONE]), 1)
    most = shown.argmax(1) if count else np.zeros(0, np.int64)
    return np.where(most < num_objects, most, NONE)
