# SPDX-License-Identifier: Apache-2.0
"""The ways to map a room that are compared, each a line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PAPER_CODES = {"codebook.fitter": "contrastive", "codebook.vote_codes": False, "codebook.track_feature": "views"}
OUR_CODES = {"codebook.fitter": "contrastive", "codebook.vote_codes": True, "codebook.track_feature": "median"}
VOTED = {"codebook.vote_codes": True}
ONLINE_MEAN = {"codebook.fitter": "online", "codebook.vote_codes": True, "codebook.track_feature": "mean"}
NO_PULL, NO_PUSH = {"codebook.pull_weight": 0.0}, {"codebook.push_weight": 0.0}
# 800 steps stand for the paper's 30 000: they are larger.
DISTILLED = {"field.lifter": "distillation", "field.learning_rate": 5e-3}
SWEPT = (0.0, 0.5, 1.5, 2.0)  # strengths besides 1

# How segments become tracks: the options of association that a name stands for; none = no segment has a track.
TRACKS: Mapping[str, Mapping[str, object]] = {
    "geometric": {},
    "tracker, as published": {"associator": "tracker", "reseed": False, "backward": False},
    "tracker, re-seeded": {"associator": "tracker", "reseed": True, "backward": True},
    "geometric + tracker": {"second_vote": "tracker"},
    "none": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is tried."""

    models: Path  # the folder of the text vectors
    seeds: tuple[int, ...] = (0, 1, 2)  # of the noise
    keyframes: int = 32
    views: int = 6  # from beside the path
    steps: int = 150  # of photometric optimisation
    codebook_steps: int = 300
    distill_steps: int = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One way to map a room."""

    group: str
    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    tracks: str = "geometric"
    strength: float = 1.0
    has_true_masks: bool = False
    path: str = "drive"
    first_seed_only: bool = False  # because it trains for long
    rooms: int = 99  # at most
    scores_colour: bool = False
    sees_field: bool = False  # masks come from decoded views

    @property
    def key(self) -> str:
        return f"{self.group} | {self.name}"


def conditions() -> list[Condition]:
    """All of them, in the order of the table."""
    return [*_ablation(), *_ours(), *_controls(), *_lifters(), *_associators(), *_sweep(), *_joint()]


def _ablation() -> list[Condition]:
    group = "ablation of the paper"
    return [
        Condition(group=group, name="codebook only", options={**PAPER_CODES, **NO_PULL, **NO_PUSH}),
        Condition(group=group, name="+ pull", options={**PAPER_CODES, **NO_PUSH}),
        Condition(group=group, name="+ push", options={**PAPER_CODES, **NO_PULL}),
        Condition(group=group, name="pull and push (CCL)", options=PAPER_CODES),
    ]


def _ours() -> list[Condition]:
    group = "ours, on the contrastive codebook"
    only_votes = {**PAPER_CODES, **VOTED}
    plain_mean = {**OUR_CODES, "codebook.track_feature": "mean"}
    only_mean = {**PAPER_CODES, "codebook.track_feature": "median"}
    return [
        Condition(group=group, name="CCL + votes", options=only_votes),
        Condition(group=group, name="codebook only + votes", options={**only_votes, **NO_PULL, **NO_PUSH}),
        Condition(group=group, name="CCL + votes + plain mean", options=plain_mean),
        Condition(group=group, name="CCL + robust mean", options=only_mean),
        Condition(group=group, name="CCL + votes + robust mean", options=OUR_CODES),
        Condition(
            group=group, name="votes + robust mean, no pull or push", options={**OUR_CODES, **NO_PULL, **NO_PUSH}
        ),
    ]


def _controls() -> list[Condition]:
    group = "controls"
    only = {**PAPER_CODES, **NO_PULL, **NO_PUSH}
    return [
        Condition(group=group, name="no codebook", options={**PAPER_CODES, "codebook.fitter": "none"}),
        Condition(group=group, name="no codebook, robust mean", options={**OUR_CODES, "codebook.fitter": "none"}),
        Condition(group=group, name="k-means", options={**PAPER_CODES, "codebook.fitter": "kmeans"}),
        Condition(group=group, name="k-means, votes + robust mean", options={**OUR_CODES, "codebook.fitter": "kmeans"}),
        Condition(group=group, name="online, votes + robust mean", options={**OUR_CODES, "codebook.fitter": "online"}),
        Condition(group=group, name="k-means + votes", options={**PAPER_CODES, **VOTED, "codebook.fitter": "kmeans"}),
        Condition(group=group, name="online + votes", options={**PAPER_CODES, **VOTED, "codebook.fitter": "online"}),
        Condition(group=group, name="online, votes + plain mean", options=ONLINE_MEAN),
        Condition(group=group, name="tracker off, CCL", options=PAPER_CODES, tracks="none"),
        Condition(group=group, name="oracle masks, codebook only", options=only, has_true_masks=True),
        Condition(group=group, name="oracle masks, CCL", options=PAPER_CODES, has_true_masks=True),
        Condition(group=group, name="oracle masks, ours", options=OUR_CODES, has_true_masks=True),
    ]


def _lifters() -> list[Condition]:
    """In few rooms, because distillation trains for long; registration in the same ones."""
    group = "lifters, on CCL + votes + robust mean"
    few = {"first_seed_only": True, "rooms": 2}
    ungated = {**OUR_CODES, "field.min_confidence": 0.0, "field.min_labelled": 0.0}
    weighted = {**OUR_CODES, "field.lifter": "weighted_mean"}
    return [
        Condition(group=group, name="registration, no gates", options=ungated),
        Condition(
            group=group, name="registration, visible by 1 px", options={**OUR_CODES, "field.min_visibility": 1.0}
        ),
        Condition(group=group, name="weighted mean", options=weighted),
        Condition(group=group, name="registration (votes), same rooms as below", options=OUR_CODES, **few),
        Condition(group=group, name="distillation, then votes", options={**OUR_CODES, **DISTILLED}, **few),
        Condition(
            group=group,
            name="distillation, views decoded (2D)",
            options={**OUR_CODES, **DISTILLED},
            sees_field=True,
            **few,
        ),
        Condition(
            group=group,
            name="the paper: CCL, distillation, views decoded (2D)",
            options={**PAPER_CODES, **DISTILLED},
            sees_field=True,
            **few,
        ),
        Condition(
            group=group,
            name="distillation, each Gaussian decoded",
            options={**OUR_CODES, **DISTILLED, "field.decode": "gaussians"},
            **few,
        ),
    ]


def _associators() -> list[Condition]:
    return [
        Condition(group=f"associators, {path}", name=name, options=OUR_CODES, tracks=name, path=path)
        for path in ("orbit", "drive")
        for name in TRACKS
        if name != "none"
    ]


def _sweep() -> list[Condition]:
    ways = {
        "codebook only": {**PAPER_CODES, **NO_PULL, **NO_PUSH},
        "CCL": PAPER_CODES,
        "ours": OUR_CODES,
    }
    return [
        Condition(group=f"noise {strength:g}", name=name, options=options, strength=strength)
        for strength in SWEPT
        for name, options in ways.items()
    ]


def _joint() -> list[Condition]:
    group = "colour, beside and with distillation"
    joint = {**OUR_CODES, **DISTILLED, "field.joint": True}
    return [
        Condition(group=group, name="frozen", options=OUR_CODES, first_seed_only=True, rooms=2, scores_colour=True),
        Condition(group=group, name="joint", options=joint, first_seed_only=True, rooms=2, scores_colour=True),
    ]
