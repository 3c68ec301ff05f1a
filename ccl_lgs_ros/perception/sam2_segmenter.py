# SPDX-License-Identifier: Apache-2.0
"""Masks from SAM 2 (Ravi et al., 2024) on single images: a grid of point prompts, three granularities per point."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.perception import sam2_models
from ccl_lgs_ros.perception.checkpoints import Source
from ccl_lgs_ros.perception.networks import hushed, reduced_precision, require
from ccl_lgs_ros.perception.point_grid import Grid, propose_on_grid
from ccl_lgs_ros.structures import MaskProposals

MODULE = "sam2.sam2_image_predictor"
NETWORK = "sam2.modeling.sam2_base.SAM2Base"
MIN_PREDICTED_IOU = 0.5  # SAM 2 believes less in its masks than SAM does (openvdb/fvdb-examples, LangSplatV2)
MIN_STABILITY = 0.85  # as for SAM
FEATURE_STRIDES = (4, 8, 16)  # pixels of the image per cell of the encoder's feature maps


class Sam2Segmenter:
    """Proposes masks with SAM 2.

    Args:
        segmenter_model: a configuration of the package; empty = sam2.1_hiera_l, or the model of a published file.
        segmenter_checkpoint: the file with its weights; empty = the published one; "random" = untrained.
        segmenter_image_size: pixels at which it looks; 0 = 1024.

    Raises:
        MissingDependencyError: if the package or the weights are missing, with the command that gets them.
        WeightsError: if the file does not hold the weights of this model.
    """

    def __init__(
        self,
        *,
        segmenter_model: str = "",
        segmenter_checkpoint: str = "",
        segmenter_image_size: int = 0,
        points_per_side: int = 32,
        point_batch: int = 64,
        min_predicted_iou: float = 0.0,
        min_stability: float = 0.0,
        device: torch.device,
        download: bool = False,
        seed: int = 0,
    ) -> None:
        require(sam2_models.PACKAGE, MODULE)
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        source = Source("sam2", segmenter_model, segmenter_checkpoint, download)
        self.description = source.description
        self.device = device
        model = sam2_models.build(NETWORK, source, segmenter_image_size, seed, device)
        self._predictor: Any = SAM2ImagePredictor(model)
        # the package assumes images of 1024 pixels here
        self._predictor._bb_feat_sizes = [(model.image_size // stride,) * 2 for stride in FEATURE_STRIDES]
        self._grid = Grid(
            points_per_side=points_per_side,
            point_batch=point_batch,
            min_predicted_iou=min_predicted_iou or MIN_PREDICTED_IOU,
            min_stability=min_stability or MIN_STABILITY,
        )

    @staticmethod
    def is_available(*, segmenter_model: str, segmenter_checkpoint: str, download: bool) -> str:
        """Why it does not work here with these options, in one sentence; empty where it does."""
        return sam2_models.problem(Source("sam2", segmenter_model, segmenter_checkpoint, download), MODULE)

    @torch.no_grad()
    def propose(self, keyframe: Keyframe) -> MaskProposals:
        """Masks that SAM 2 believes in, by granularity; none is a normal answer."""
        height, width = keyframe.image.shape[:2]
        with reduced_precision(self.device):
            with hushed(import_module(MODULE)):
                self._predictor.set_image(keyframe.image)
            return propose_on_grid(self._decode, width, height, self._grid)

    def _decode(self, points: Tensor) -> tuple[Tensor, Tensor]:
        size = self._predictor._orig_hw[-1]
        prompts = self._predictor._transforms.transform_coords(points.to(self.device), normalize=True, orig_hw=size)
        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        logits, predicted_iou, _ = self._predictor._predict(
            prompts[:, None], labels, multimask_output=True, return_logits=True
        )
        return logits, predicted_iou
