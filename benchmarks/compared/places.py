# SPDX-License-Identifier: Apache-2.0
"""The places that recipes are compared in: synthetic rooms, and recordings of real cameras. All recipes share the
keyframes, the Gaussians and the perception of a place.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from proof.names import read_text_vectors
from proof.rooms import MIN_SHARE, TrialRoom, absent_names, trial_room
from proof.trial import SMALL_IMAGES

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import capture_bag, check_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.gaussians.optimize import is_held_out, optimized
from ccl_lgs_ros.label_views import labelled_views
from ccl_lgs_ros.protocols import KeyframeSource, no_progress
from ccl_lgs_ros.scenes import truths
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.evaluation_set import LabelledView, ObjectTruth
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Gaussians
from ccl_lgs_ros.synthetic.perceived_features import NEAR_NAMES
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise
from ccl_lgs_ros.synthetic.surfaces import TrueSurface
from ccl_lgs_ros.synthetic_perception import SyntheticPerception
from ccl_lgs_ros.working_size import WorkingSize

THRESHOLDS = (0.50, 0.52, 0.54, 0.56, 0.58, 0.60, 0.62)  # that are tried in rooms
BAGS = ("kitchen", "shelf")
SHELF, KITCHEN = "label_fusion_rgbd_15", "redkitchen_rgbd_60"
SHELF_LABELS, SHELF_PROMPTS = "/ground_truth/segm", {132: "light blue box"}
RED_SHARE = 0.1  # of a photo of the kitchen, from which its red is scored
PATCH_PX = 400  # of red that is one thing to point at
WIDTH = 160  # pixels, for mapping
ROOM_STRIDE, BAG_STRIDE = 3, 2  # pixels between new Gaussians: fewer than a map has, to save time


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is tried."""

    data: Path  # holds models/ and bags/
    seeds: tuple[int, ...] = (0, 1, 2)  # of the noise
    keyframes: int = 24
    views: int = 5  # that are scored
    steps: int = 120  # of photometric optimisation
    train_steps: int = 400  # of a lifter, at most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """What is the same for all recipes."""

    name: str
    settings: Mapping[str, object]  # options
    keyframes: KeyframeSource
    gaussians: Gaussians
    shown: Sequence[Keyframe]  # for PSNR
    views: tuple[LabelledView, ...]
    absent: tuple[str, ...]
    objects: tuple[ObjectTruth, ...] = ()
    surface: TrueSurface | None = None
    thresholds: tuple[float, ...] = (0.0,)  # of answers; 0 = the encoder's own
    perceptions: Mapping[int, SyntheticPerception | None]  # by seed; None = the builtin one

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(prompt for view in self.views for prompt in view.masks))


def room_place(number: int, plan: Plan) -> Place:
    """The room of a number, its masks and features with the errors of real models."""
    names, vectors = read_text_vectors(plan.data / "models")
    settings = {**SMALL_IMAGES, "gaussians.seed_stride": ROOM_STRIDE, "gaussians.iterations": plan.steps}
    config = updated(MapConfig(), settings)
    trial = trial_room(number, "drive", plan.keyframes, plan.views, config, configured_part("rasterizer", config)[0])
    surface = TrueSurface(trial.room)
    for frame in trial.frames[::2]:
        surface.add(frame)
    return Place(
        name=f"room {number}",
        settings=settings,
        keyframes=trial.keyframes,
        gaussians=trial.gaussians,
        shown=trial.views,
        views=tuple(_room_views(trial)),
        absent=absent_names(names, vectors, set(trial.truths[0].names) - set(NEAR_NAMES)),
        objects=tuple(replace(truth, category=truth.kind) for truth in truths(trial.room)),
        surface=surface,
        thresholds=THRESHOLDS,
        perceptions={
            seed: SyntheticPerception(
                room=trial.room,
                frames=trial.frames,
                names=names,
                vectors=vectors,
                noise=PerceptionNoise(),
                seed=seed,
                truths=trial.truths,
            )
            for seed in plan.seeds
        },
    )


def bag_place(name: str, plan: Plan, folder: Path) -> Place:
    """A recording of a real camera, seen by the builtin perception.

    Args:
        folder: empty, for its keyframes.
    """
    bag = plan.data / "bags" / {"shelf": SHELF, "kitchen": KITCHEN}[name]
    settings: dict[str, object] = dict(check_bag(bag).settings) if name == "kitchen" else {}
    settings |= {"gaussians.image_width": WIDTH, "gaussians.seed_stride": BAG_STRIDE, "association.min_votes": 2.5}
    config = updated(MapConfig(), settings)
    store = KeyframeStore(MapDirectory.create(folder / "map"), writable=True)
    capture_bag(bag, store, config, no_progress)
    keyframes = WorkingSize(WIDTH).source(store)
    held_out = [index for index in range(len(store)) if is_held_out(index, config.gaussians.holdout_every)]
    if name == "shelf":
        with Bag(bag) as opened:
            views = labelled_views(opened, SHELF_LABELS, SHELF_PROMPTS, config)
    else:
        views = list(_red_views(store))
    return Place(
        name=name,
        settings=settings,
        keyframes=store,
        gaussians=_optimised(keyframes, config, plan.steps),
        shown=[keyframes[index] for index in held_out],
        views=tuple(views[:: max(1, len(views) // plan.views)][: plan.views]),
        absent=("lime green sofa",),
        perceptions={0: None},
    )


def reddish(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that anyone would call red: in the kitchen its cupboard fronts, and little else."""
    r, g, b = (image[..., i].astype(int) for i in range(3))
    return (r > 70) & (r - g > 50) & (r - b > 40) & (abs(g - b) < 50)


def _room_views(trial: TrialRoom) -> Iterator[LabelledView]:
    for number, (view, truth) in enumerate(zip(trial.views, trial.view_truths, strict=True)):
        masks = {kind: trial.has_kind(truth, kind) for kind in trial.kinds}
        masks = {kind: mask for kind, mask in masks.items() if mask.mean() > MIN_SHARE}
        boxes = {
            kind: np.array([_box(truth.things == i) for i, own in enumerate(trial.object_kinds) if own == kind])
            for kind in masks
        }
        boxes = {kind: found[np.isfinite(found).all(1)] for kind, found in boxes.items()}
        yield _view(f"{number}", view, masks, boxes)


def _red_views(keyframes: KeyframeSource) -> Iterator[LabelledView]:
    """Photos with much red, of which the red is the truth for "red cupboard"."""
    for index in range(len(keyframes)):
        photo = keyframes[index]
        mask = reddish(photo.image)
        if mask.mean() > RED_SHARE:
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            boxes = [(x, y, x + w - 1, y + h - 1) for x, y, w, h, size in stats[1:] if size > PATCH_PX]
            boxes_of = {"red cupboard": np.array(boxes, np.float64).reshape(-1, 4)}
            yield _view(f"{index}", photo, {"red cupboard": mask}, boxes_of)


def _view(
    stem: str, photo: Keyframe, masks: Mapping[str, NDArray[np.bool_]], boxes: Mapping[str, NDArray[np.float64]]
) -> LabelledView:
    return LabelledView(
        stem=stem,
        camera=photo.camera,
        world_from_camera=photo.world_from_camera,
        masks=masks,
        boxes=boxes,
        depth=photo.depth,
    )


def _box(mask: NDArray[np.bool_]) -> tuple[float, ...]:
    """Left, top, right, bottom of a mask, pixels; NaN where it is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return (np.nan,) * 4
    return float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())


def _optimised(keyframes: KeyframeSource, config: MapConfig, steps: int) -> Gaussians:
    options = config.gaussians
    return optimized(
        Gaussians.empty(options.sh_degree),
        keyframes,
        configured_part("rasterizer", config)[0],
        iterations=steps,
        holdout_every=options.holdout_every,
        depth_weight=options.depth_weight,
        ssim_weight=options.ssim_weight,
        seed_stride=options.seed_stride,
        generator=torch.Generator().manual_seed(0),
    ).gaussians


def seconds_since(began: float) -> float:
    """Rounded, as it goes into results."""
    return round(time.monotonic() - began, 2)
