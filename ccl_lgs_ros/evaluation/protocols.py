# SPDX-License-Identifier: Apache-2.0
"""How a map is scored: the headline protocol with one fixed, absolute threshold for every prompt.

The scored mask is the union of the returned instances, seen from the label's camera. An absent thing can return
nothing, which a threshold relative to each picture's own extremes would make impossible.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.evaluation.boxes import box_iou
from ccl_lgs_ros.evaluation.instances import ap50, union_iou
from ccl_lgs_ros.evaluation.metrics import Mask, ViewPairs, is_localised, mask_iou, matched
from ccl_lgs_ros.evaluation.scores import CategoryScores, Scores, Unit
from ccl_lgs_ros.protocols import Progress, no_progress

PROMPTS_AT_ONCE = 8  # seen together; bounds the memory that their masks in all views take


class View(Protocol):
    """A camera with the true masks of the prompts that it shows."""

    @property
    def camera(self) -> Camera: ...
    @property
    def world_from_camera(self) -> NDArray[np.float64]: ...
    @property
    def masks(self) -> Mapping[str, Mask]: ...
    @property
    def boxes(self) -> Mapping[str, NDArray[np.float64]]: ...
    @property
    def depth(self) -> NDArray[np.float32] | None: ...


class Truth(Protocol):
    """A thing as it really is."""

    @property
    def id(self) -> int: ...
    @property
    def category(self) -> str: ...
    @property
    def centroid(self) -> NDArray[np.float64]: ...
    @property
    def box(self) -> Box: ...


class Subject(Protocol):
    """What is scored: something that answers prompts and shows its answers."""

    def ask(self, prompt: str) -> Answer:
        """The instances of a prompt."""
        ...

    def show(
        self, answers: Sequence[Answer], camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> Sequence[tuple[Mask, NDArray[np.floating]]]:
        """The mask [H, W] of each answer and its relevancy [H, W] from a camera."""
        ...


def fixed_threshold(
    subject: Subject,
    views: Sequence[View],
    objects: Sequence[Truth] = (),
    absent: Sequence[str] = (),
    progress: Progress = no_progress,
    owner: NDArray[np.integer] | None = None,
    weight: NDArray[np.floating] | None = None,
) -> Scores:
    """The scores of a subject: each prompt is asked once and its answer is seen from every view.

    View consistency needs the true depth of the views; it is scored among those that have it.

    Args:
        owner: [N] the object that each Gaussian of the subject truly lies on; without it, none over Gaussians.
        weight: [N] what each Gaussian counts in the second IoU in 3D, as instances.bulk has it.
    """
    prompts = list(dict.fromkeys([c for view in views for c in view.masks] + [item.category for item in objects]))
    deep = [i for i, view in enumerate(views) if view.depth is not None]
    pairs = ViewPairs(
        [views[i].camera for i in deep],
        [views[i].world_from_camera for i in deep],
        [depth for view in views if (depth := view.depth) is not None],
    )
    categories, total = {}, len(prompts) + len(absent)
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        block = prompts[first : first + PROMPTS_AT_ONCE]
        found = _categories(subject, block, views, objects, deep, pairs, owner, weight)
        for done, (prompt, scores) in enumerate(found):
            categories[prompt] = scores
            progress("evaluate", first + done + 1, total)
    false_alarms = {}
    for done, prompt in enumerate(absent):
        false_alarms[prompt] = bool(subject.ask(prompt).instances)
        progress("evaluate", len(prompts) + done + 1, total)
    return Scores(categories=categories, false_alarms=false_alarms)


def _categories(
    subject: Subject,
    prompts: Sequence[str],
    views: Sequence[View],
    objects: Sequence[Truth],
    deep: list[int],
    pairs: ViewPairs,
    owner: NDArray[np.integer] | None,
    weight: NDArray[np.floating] | None,
) -> Iterator[tuple[str, CategoryScores]]:
    """The scores of some prompts, which are seen together from each view."""
    answers = [subject.ask(prompt) for prompt in prompts]
    masks: list[list[Mask]] = [[] for _ in prompts]  # of the views with depth
    units: list[list[Unit]] = [[] for _ in prompts]
    is_deep = set(deep)
    for index, view in enumerate(views):
        pictures = subject.show(answers, view.camera, view.world_from_camera)
        for place, (prompt, (mask, relevancy)) in enumerate(zip(prompts, pictures, strict=True)):
            if index in is_deep:
                masks[place].append(mask)
            if prompt in view.masks:
                hit, iou = is_localised(relevancy, view.boxes[prompt]), mask_iou(mask, view.masks[prompt])
                units[place].append(Unit(prompt=prompt, view=index, iou=iou, is_localised=hit))
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        truths = [item for item in objects if item.category == prompt]
        errors, overlaps = _against_truth(answer, truths)
        ids = [item.id for item in truths]
        is_true = None if owner is None or not ids else np.isin(owner, ids)
        yield (
            prompt,
            CategoryScores(
                units=tuple(units[place]),
                consistencies=tuple(pairs.consistencies(masks[place])),
                num_instances=len(answer.instances),
                num_objects=len(truths),
                centroid_errors=errors,
                box_ious=overlaps,
                ap50=None if owner is None else ap50(answer.instances, ids, owner),
                iou_3d=None if is_true is None else union_iou(answer.instances, is_true),
                volume_iou_3d=None
                if is_true is None or weight is None
                else union_iou(answer.instances, is_true, weight),
                best_score=answer.best_score,
            ),
        )


def _against_truth(answer: Answer, truths: Sequence[Truth]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Centroid errors and box IoUs of the objects that an instance is left for, matched by least total distance."""
    if not truths or not answer.instances:
        return (), ()
    true = np.stack([item.centroid for item in truths])
    found = np.stack([instance.centroid for instance in answer.instances])
    distance = np.linalg.norm(true[:, None] - found[None], axis=-1)
    pairs = matched(distance)
    overlaps = (box_iou(truths[i].box, answer.instances[j].box) for i, j in pairs)
    return tuple(float(distance[i, j]) for i, j in pairs), tuple(overlaps)
