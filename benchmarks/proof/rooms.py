# SPDX-License-Identifier: Apache-2.0
"""The rooms that the method is tried in: keyframes, views from beside the path, exact truth, and their Gaussians."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.evaluation.metrics import ViewPairs
from ccl_lgs_ros.gaussians.optimize import optimized
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import RoomFrame, make_room_scene
from ccl_lgs_ros.synthetic.truth import FrameTruth, RoomTruth

WIDTH, HEIGHT = 160, 120
MIN_SHARE = 0.0012  # of a view, under which a kind is too small to be scored
ABSENT = 20  # prompts for things that no room holds
UNLIKE = 0.35  # cosine of texts about their mean, under which a name is no relative of a room's


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialRoom:
    """One room on one path, with what is the same for every way to map it."""

    room: Room
    frames: tuple[RoomFrame, ...]
    truths: tuple[FrameTruth, ...]
    keyframes: tuple[Keyframe, ...]
    views: tuple[Keyframe, ...]  # from beside the path, for scores
    view_truths: tuple[FrameTruth, ...]
    pairs: ViewPairs  # of the views
    kinds: tuple[str, ...]  # the prompts
    gaussians: Gaussians
    object_of_gaussian: Tensor  # [N] the object that a Gaussian shows most of, -1 none
    seconds: float  # of making the Gaussians

    def has_kind(self, truth: FrameTruth, kind: str) -> NDArray[np.bool_]:
        """[H, W] where a view shows a kind."""
        return np.isin(truth.things, [i for i, item in enumerate(self.room.objects) if item.kind == kind])

    @property
    def object_kinds(self) -> list[str]:
        """The kind of each object."""
        return [item.kind for item in self.room.objects]


def trial_room(
    seed: int, path: str, num_keyframes: int, num_views: int, config: MapConfig, rasterizer: Rasterizer
) -> TrialRoom:
    """The room of a seed, its recording, and Gaussians optimised on it."""
    scene = make_room_scene(seed, width=WIDTH, height=HEIGHT, path=path)
    truth = RoomTruth(scene.room)
    frames = tuple(scene.frames(num_keyframes))
    moments = (np.arange(num_views) + 0.5) / num_views * scene.drive.duration
    beside = tuple(scene.frame(moment, scene.held_out_pose(moment)) for moment in moments)
    keyframes = tuple(_keyframe(index, frame) for index, frame in enumerate(frames))
    truths = tuple(truth.of(frame) for frame in frames)
    began = time.monotonic()
    gaussians = _gaussians(keyframes, config, rasterizer)
    seconds = time.monotonic() - began
    return TrialRoom(
        room=scene.room,
        frames=frames,
        truths=truths,
        keyframes=keyframes,
        views=tuple(_keyframe(len(frames) + index, frame) for index, frame in enumerate(beside)),
        view_truths=tuple(truth.of(frame) for frame in beside),
        pairs=ViewPairs(
            [frame.camera for frame in beside],
            [frame.world_from_camera for frame in beside],
            [frame.true_depth for frame in beside],
        ),
        kinds=tuple(dict.fromkeys(item.kind for item in scene.room.objects)),
        gaussians=gaussians,
        object_of_gaussian=_true_objects(gaussians, keyframes, truths, rasterizer),
        seconds=seconds,
    )


def absent_names(names: list[str], vectors: NDArray[np.floating], room_names: set[str]) -> tuple[str, ...]:
    """Names that are no relatives of anything in the rooms, always the same ones."""
    spread = vectors - vectors.mean(0)
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    known = [index for index, name in enumerate(names) if name in room_names]
    unlike = np.flatnonzero((spread @ spread[known].T).max(1) < UNLIKE)
    return tuple(names[index] for index in np.random.default_rng(19).choice(unlike, ABSENT, replace=False))


def _keyframe(index: int, frame: RoomFrame) -> Keyframe:
    return Keyframe(
        id=index,
        stamp_ns=round(frame.seconds * 1e9),
        camera=frame.camera,
        world_from_camera=frame.world_from_camera,
        image=frame.image,
        depth=frame.depth,
    )


def _gaussians(keyframes: tuple[Keyframe, ...], config: MapConfig, rasterizer: Rasterizer) -> Gaussians:
    options = config.gaussians
    return optimized(
        Gaussians.empty(),
        keyframes,
        rasterizer,
        iterations=options.iterations,
        holdout_every=0,  # the views that are scored lie beside the path
        depth_weight=options.depth_weight,
        ssim_weight=options.ssim_weight,
        seed_stride=options.seed_stride,
        generator=torch.Generator().manual_seed(0),
    ).gaussians


def _true_objects(
    gaussians: Gaussians, keyframes: tuple[Keyframe, ...], truths: tuple[FrameTruth, ...], rasterizer: Rasterizer
) -> Tensor:
    """The object [N] that each Gaussian drew most of, by rendering weight over all keyframes; -1 the room or none."""
    count = len(truths[0].names)
    weight = torch.zeros(len(gaussians) * count, dtype=torch.float64)
    for keyframe, truth in zip(keyframes, truths, strict=True):
        votes = rasterizer.vote(gaussians, keyframe.camera, keyframe.world_from_camera, torch.from_numpy(truth.things))
        weight.index_add_(0, votes.gaussian * count + votes.label, votes.weight.double())
    heaviest, thing = weight.reshape(-1, count).max(dim=1)
    return torch.where((heaviest > 0) & (thing < truths[0].num_objects), thing, NONE)
