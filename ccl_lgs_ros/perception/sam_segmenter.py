# SPDX-License-Identifier: Apache-2.0
"""Masks from Segment Anything (Kirillov et al., 2023): a grid of point prompts, three granularities per point."""

from typing import Any

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.perception.checkpoints import Source, fill_from, read_tensors
from ccl_lgs_ros.perception.networks import absence, import_problem, reduced_precision, require, seeded
from ccl_lgs_ros.perception.point_grid import Grid, propose_on_grid
from ccl_lgs_ros.structures import MaskProposals

PACKAGE = "segment_anything"
MIN_PREDICTED_IOU = 0.7  # LangSplat's, on which CCL-LGS builds
MIN_STABILITY = 0.85  # LangSplat's


class SamSegmenter:
    """Proposes masks with SAM.

    Args:
        segmenter_model: a name of the package's registry; empty = vit_h, or the model of a published file.
        segmenter_checkpoint: the file with its weights; empty = the published one; "random" = untrained.

    Raises:
        MissingDependencyError: if the package or the weights are missing, with the command that gets them.
        WeightsError: if the file does not hold the weights of this model.
    """

    def __init__(
        self,
        *,
        segmenter_model: str = "",
        segmenter_checkpoint: str = "",
        points_per_side: int = 32,
        point_batch: int = 64,
        min_predicted_iou: float = 0.0,
        min_stability: float = 0.0,
        device: torch.device,
        download: bool = False,
        seed: int = 0,
    ) -> None:
        require(PACKAGE, PACKAGE)
        from segment_anything import SamPredictor

        source = Source("sam", segmenter_model, segmenter_checkpoint, download)
        self.description = source.description
        self.device = device
        self._predictor = SamPredictor(_model(source, seed).to(device))
        self._grid = Grid(
            points_per_side=points_per_side,
            point_batch=point_batch,
            min_predicted_iou=min_predicted_iou or MIN_PREDICTED_IOU,
            min_stability=min_stability or MIN_STABILITY,
        )

    @staticmethod
    def is_available(*, segmenter_model: str, segmenter_checkpoint: str, download: bool) -> str:
        """Why it does not work here with these options, in one sentence; empty where it does."""
        source = Source("sam", segmenter_model, segmenter_checkpoint, download)
        problem = absence(PACKAGE) or ("" if source.release else _unknown(source.model))
        return problem or source.problem() or import_problem(PACKAGE, PACKAGE)

    @torch.no_grad()
    def propose(self, keyframe: Keyframe) -> MaskProposals:
        """Masks that SAM believes in, by granularity; none is a normal answer."""
        height, width = keyframe.image.shape[:2]
        with reduced_precision(self.device):
            self._predictor.set_image(keyframe.image)
            return propose_on_grid(self._decode, width, height, self._grid)

    def _decode(self, points: Tensor) -> tuple[Tensor, Tensor]:
        size = self._predictor.original_size
        prompts = self._predictor.transform.apply_coords_torch(points.to(self.device), size)
        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        logits, predicted_iou, _ = self._predictor.predict_torch(
            prompts[:, None], labels, multimask_output=True, return_logits=True
        )
        return logits, predicted_iou


def _unknown(model: str) -> str:
    """Why a model that was never published does not work; a program may have added it to the registry."""
    problem = import_problem(PACKAGE, PACKAGE)
    if problem:
        return problem
    from segment_anything import sam_model_registry

    known = ", ".join(sam_model_registry)
    return "" if model in sam_model_registry else f"sam has no model '{model}'; known: {known}"


def _model(source: Source, seed: int) -> Any:
    from segment_anything import sam_model_registry

    path = source.resolve()
    with seeded(seed):
        model = sam_model_registry[source.model](checkpoint=None)
    if path is not None:
        fill_from(model, read_tensors(path, source.advice), path, source)
    return model.eval().requires_grad_(False)
