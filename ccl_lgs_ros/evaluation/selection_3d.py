# SPDX-License-Identifier: Apache-2.0
"""OpenGaussian's protocol: the Gaussians that a text selects, drawn without all others, against the 2D label.

Without the others nothing occludes, so a label of a partly hidden thing costs what the map knows to be behind; the
threshold is absolute. Source: OpenGaussian (Wu et al., NeurIPS 2024), as its published evaluation computes it. There
the text selects clusters; here it selects the instances of the answer. Masks are exact here, where the published
evaluation stores both as pictures and cuts them at 10/255.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.evaluation.langsplat_2d import NamedView
from ccl_lgs_ros.evaluation.metrics import mask_iou
from ccl_lgs_ros.evaluation.peer_scores import PeerUnit
from ccl_lgs_ros.protocols import Progress, no_progress

SILHOUETTE = 0.7  # rendered alpha above which a pixel shows the selected Gaussians
ACCURACIES = {"acc25": 0.25, "acc50": 0.5}


class SelectionSubject(Protocol):
    """What is scored: something that answers prompts and draws what it answered alone."""

    def ask(self, prompt: str) -> Answer:
        """The instances of a prompt."""
        ...

    def silhouette(
        self, answer: Answer, camera: Camera, world_from_camera: NDArray[np.float64]
    ) -> NDArray[np.floating]:
        """The alpha [H, W] of the answer's Gaussians without any others."""
        ...


def opengaussian_3d(
    subject: SelectionSubject, views: Sequence[NamedView], *, progress: Progress = no_progress
) -> tuple[PeerUnit, ...]:
    """IoU, and whether it is above 0.25 and 0.5, of every labelled prompt in every view; 0 where nothing is found."""
    answers: dict[str, Answer] = {}
    units = []
    for done, view in enumerate(views):
        for prompt, truth in view.masks.items():
            if prompt not in answers:
                answers[prompt] = subject.ask(prompt)
            iou = 0.0
            if answers[prompt].instances:
                alpha = subject.silhouette(answers[prompt], view.camera, view.world_from_camera)
                iou = mask_iou(alpha > SILHOUETTE, truth)
            above = {name: float(iou > threshold) for name, threshold in ACCURACIES.items()}
            units.append(PeerUnit(prompt=prompt, view=view.stem, values={"iou": iou, **above}))
        progress("evaluate", done + 1, len(views))
    return tuple(units)
