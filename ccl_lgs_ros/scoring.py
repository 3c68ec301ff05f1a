# SPDX-License-Identifier: Apache-2.0
"""Scores a map against an evaluation set, or against label images in a recording as simulators publish them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.evaluation.instances import bulk, owners
from ccl_lgs_ros.evaluation.protocols import fixed_threshold
from ccl_lgs_ros.evaluation.scores import Scores
from ccl_lgs_ros.label_views import labelled_views
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.scoring_pictures import write_scoring_pictures
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.evaluation_set import read_evaluation_set
from ccl_lgs_ros.structures import SemanticMap

__all__ = ["Scores", "evaluate_bag", "evaluate_map"]

logger = logging.getLogger(__name__)


def evaluate_map(
    semantic_map: SemanticMap,
    set_path: Path | str,
    config: MapConfig,
    *,
    threshold: float | None = None,
    pictures: Path | None = None,
    progress: Progress = no_progress,
) -> Scores:
    """The scores of a map against an evaluation set, every prompt at one absolute threshold.

    Args:
        pictures: a new folder for pictures of what was scored.

    Raises:
        EvaluationError: if the set cannot be read.
        MapError: if the pictures cannot be written.
        EncoderMismatchError: if the configured encoder speaks another language than the map.
    """
    truth = read_evaluation_set(set_path)
    subject = MapSubject(semantic_map, config, threshold)
    surface = truth.surface
    owner = None if surface is None else owners(subject.means, surface.points, surface.objects)
    weight = bulk(subject.scales, subject.opacities)
    scores = fixed_threshold(subject, truth.views, truth.objects, truth.absent, progress, owner, weight)
    if pictures is not None:
        write_scoring_pictures(pictures, scores, subject, truth.views, progress)
    return scores


def evaluate_bag(
    semantic_map: SemanticMap,
    bag: Path | str,
    label_topic: str,
    prompts: Mapping[int, str],
    config: MapConfig,
    *,
    threshold: float | None = None,
    pictures: Path | None = None,
    progress: Progress = no_progress,
) -> Scores:
    """The scores of a map against label images in a recording, at the pose that the recording has for each.

    Args:
        prompts: what the label values are called; values of one name are a union.
        pictures: a new folder for pictures of what was scored, over the map as it is seen from there.

    Raises:
        BagError: if the recording cannot be read.
        MapError: if the pictures cannot be written.
        EvaluationError: if it has no label images of that topic, or none of them shows any of the values.
    """
    with Bag(bag) as opened:
        views = labelled_views(opened, label_topic, prompts, config)
    if not any(view.masks for view in views):
        values = ", ".join(map(str, prompts))
        raise EvaluationError(f"no image of {label_topic} in {bag} shows the label {values}; check the values")
    logger.info("%s label images of %s", len(views), label_topic)
    subject = MapSubject(semantic_map, config, threshold)
    scores = fixed_threshold(subject, views, progress=progress)
    if pictures is not None:
        write_scoring_pictures(pictures, scores, subject, views, progress)
    return scores
