# SPDX-License-Identifier: Apache-2.0
"""Masks from the label images that came with the keyframes, as a simulator or a detector publishes them."""

import logging

import numpy as np
import torch

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.structures import MaskProposals

PART = 1  # the granularity that both levels have

logger = logging.getLogger(__name__)


class TopicSegmenter:
    """Proposes one mask per value of the keyframe's labels; 0 is nothing, and a value is one thing however cut up."""

    def __init__(self) -> None:
        self._has_warned = False

    def propose(self, keyframe: Keyframe) -> MaskProposals:
        """The masks of the keyframe's labels, smallest value first; none, and one warning, where it has no labels."""
        labels = keyframe.labels
        if labels is None:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("keyframe %s has no labels, so nothing is seen in it; set label_topic", keyframe.id)
            labels = np.zeros(keyframe.image.shape[:2], np.int32)
        values = np.unique(labels[labels > 0])
        count = len(values)
        return MaskProposals(
            masks=torch.from_numpy(labels[None] == values[:, None, None]),
            predicted_iou=torch.ones(count),
            stability=torch.ones(count),
            granularity=torch.full((count,), PART, dtype=torch.int64),
        )
