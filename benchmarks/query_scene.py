# SPDX-License-Identifier: Apache-2.0
"""A made-up floor of rooms with Gaussians and language at two levels, for the benchmark of queries.

Every room has a floor, walls and things of several kinds, covered with Gaussians 1.5 cm apart in the order in which a
camera came by. A hundredth of them carries the label of another thing in the room, as badly cut masks leave it. Things
of one kind look alike, all things have something in common, and generic words look like that.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap

SPACING = 0.015  # metres between Gaussians
ROOM = 4.8  # metres; rooms are a metre apart
THINGS_PER_ROOM, KINDS, PARTS = 60, 60, 3
FIRST_KIND = 2  # 0 is floors, 1 is walls
PART_HEIGHT = 0.15  # metres
MISLABELLED = 0.01
DIM = 512
COMMON, NOISE = 0.8, 0.45  # of a feature: what all things share, what is its own; the rest is its kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryScene:
    """A map and what to ask it."""

    semantic_map: SemanticMap
    prompts: list[Tensor]  # a unit vector [D] for each kind
    negatives: Tensor  # [4, D]


def make_scene(num_gaussians: int, num_entries: int, seed: int = 0) -> QueryScene:
    """A map of so many Gaussians (about) with so many codebook entries at each level."""
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    points, things, kinds = _rooms(num_gaussians, random)
    part = np.minimum((points[:, 2] / PART_HEIGHT).astype(np.int64), PARTS - 1)
    is_off = random.random(len(points)) < MISLABELLED
    things = np.where(is_off, np.minimum(things + random.integers(1, 5, len(points)), len(kinds) - 1), things)
    common, of_kind = normalize(torch.randn(DIM, generator=generator), dim=0), _random_rows(KINDS, generator)
    tracks = {
        "wp": (things, torch.from_numpy(kinds)),
        "sp": (things * PARTS + part, torch.from_numpy(kinds.repeat(PARTS))),
    }
    levels = {}
    for name, (track, kind_of_track) in tracks.items():
        kind_of_entry = torch.arange(num_entries) % KINDS
        own = NOISE * _random_rows(num_entries, generator)
        pick = torch.randint(num_entries // KINDS, kind_of_track.shape, generator=generator)
        levels[name] = SemanticLevel(
            track_of_gaussian=torch.from_numpy(track).to(torch.int32),
            confidence=torch.randint(100, 256, (len(points),), generator=generator, dtype=torch.uint8),
            entry_of_track=pick * KINDS + kind_of_track,
            codebook=Codebook(
                entries=normalize(COMMON * common + of_kind[kind_of_entry] + own, dim=1),
                weight=torch.ones(num_entries),
            ),
        )
    scales = torch.full((len(points), 3), 0.5 * SPACING).log() + 0.2 * torch.randn(len(points), 3, generator=generator)
    gaussians = Gaussians(
        means=torch.from_numpy(points),
        quats=torch.nn.functional.pad(torch.ones(len(points), 1), (0, 3)),
        log_scales=scales,
        logit_opacities=torch.full((len(points),), 3.0),
        sh=torch.zeros(len(points), 1, 3),
    )
    return QueryScene(
        semantic_map=SemanticMap(gaussians=gaussians, levels=levels, encoder="made up"),
        prompts=list(normalize(0.3 * common + of_kind, dim=1)),
        negatives=normalize(common + 0.3 * _random_rows(4, generator), dim=1),
    )


def _random_rows(count: int, generator: torch.Generator) -> Tensor:
    return normalize(torch.randn(count, DIM, generator=generator), dim=1)


def _rooms(num_gaussians: int, random: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Points [n, 3], the thing [n] of each, and the kind [t] of each thing."""
    points, thing, kinds, total = [], [], [], 0
    sizes = random.uniform(0.08, 0.45, (KINDS, 3))
    room = 0
    while total < num_gaussians:
        corner = np.array([room % 6, room // 6, 0.0]) * (ROOM + 1.0)
        found, label = [], []
        for item in range(THINGS_PER_ROOM + 2):
            kind = item if item < FIRST_KIND else int(random.integers(FIRST_KIND, KINDS))
            if kind == 0:
                size, center = np.array([ROOM, ROOM, 0.0]) / 2.0, np.array([ROOM, ROOM, 0.0]) / 2.0
            elif kind == 1:
                size, center = np.array([ROOM / 2.0, 0.02, 1.5]), np.array([ROOM / 2.0, 0.0, 0.75])
            else:  # on a grid of 40 by 60 cm, so that large ones touch
                size = sizes[kind] * random.uniform(0.9, 1.1, 3)
                place = np.array([item % 10 * 0.4, item // 10 * 0.6, 0.0]) + 0.4
                center = np.array([*place[:2], size[2] / 2.0])
            surface = _surface(center, size, random)
            found.append(surface + corner)
            label.append(np.full(len(surface), len(kinds)))
            kinds.append(kind)
        order = np.argsort(np.concatenate(found) @ [1.0, 0.3, 0.0] + random.normal(0.0, 0.3, sum(map(len, found))))
        points.append(np.concatenate(found)[order])
        thing.append(np.concatenate(label)[order])
        total, room = total + len(order), room + 1
    points_, thing_ = np.concatenate(points)[:num_gaussians], np.concatenate(thing)[:num_gaussians]
    return points_.astype(np.float32), thing_, np.array(kinds)


def _surface(center: NDArray, size: NDArray, random: np.random.Generator) -> NDArray:
    """Points [n, 3] on the sides and the top of a box."""
    areas = np.array([size[1] * size[2], size[1] * size[2], size[0] * size[2], size[0] * size[2], size[0] * size[1]])
    count = max(int(areas.sum() / SPACING**2), 20)
    face = random.choice(5, count, p=areas / areas.sum())
    points = random.uniform(-0.5, 0.5, (count, 3))
    for place, (axis, sign) in enumerate(((0, -1), (0, 1), (1, -1), (1, 1), (2, 1))):
        points[face == place, axis] = 0.5 * sign
    return points * size + center
