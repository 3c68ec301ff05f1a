# SPDX-License-Identifier: Apache-2.0
"""Cached codes: each Gaussian keeps the few codes that it was seen with most, and speaks as their mixture."""

from collections.abc import Mapping

import torch

from ccl_lgs_ros.field.coded import CODES, CodedViews, labels_of_codes
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting
from ccl_lgs_ros.languages import SparseCodes
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import NONE, Gaussians


class CachedCodesLifter:
    """Keeps the heaviest codes of each Gaussian with their rendering weights, as views come; nothing is trained.

    The heaviest code gives the Gaussian its label, that one of the code's labels which it was seen with most: so a
    query is answered by what a Gaussian says, and things are told apart by tracks.

    Differs from the paper: Gaussians come from this map's optimisation, not from a feed-forward network, and there is
    no network that refines features in 3D; where the cache is full, the heaviest weight that falls off is taken off
    all of it, so that a late code can still win (the bounded counters of RegistrationLifter).

    Args:
        slots: codes that a Gaussian keeps; 5 in the paper.
        min_confidence: share of a Gaussian's votes under which its heaviest code gives it no label.
        min_labelled: share of what was seen of a Gaussian that must have been voted on, or it has no label.

    Source: EmbodiedSplat (2026), the online sparse coefficients over a global codebook of instances.
    """

    def __init__(self, *, slots: int, min_confidence: float, min_labelled: float) -> None:
        self._registration = RegistrationLifter(slots=slots, min_confidence=min_confidence, min_labelled=min_labelled)

    def lift(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lifting:
        """The codes and the label of each Gaussian; nothing is random, and nothing long enough to be kept."""
        coded = CodedViews(views=views, labels=labels)
        wanted = [*labels, *(name + CODES for name in labels)]
        tables = self._registration.tables(gaussians, coded, wanted, rasterizer, progress)
        found, confidence, languages = {}, {}, {}
        for name, level in labels.items():
            cache = tables[name + CODES]
            code, sure = self._registration.resolve(cache)
            found[name] = labels_of_codes(code, tables[name], level.code_of_label)
            confidence[name] = torch.where(found[name] == NONE, 0, sure).to(torch.uint8)
            languages[name] = SparseCodes.of(cache.track, cache.weight)
        return Lifting(gaussians=gaussians, label_of_gaussian=found, confidence=confidence, languages=languages)
