# SPDX-License-Identifier: Apache-2.0
"""Follows masks through images with the video model of SAM 2 (Ravi et al., 2024); images are loaded when needed."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.perception import sam2_models
from ccl_lgs_ros.perception.checkpoints import Source
from ccl_lgs_ros.perception.networks import reduced_precision, replaced, require
from ccl_lgs_ros.protocols import ImageSource
from ccl_lgs_ros.structures import NONE

MODULE = "sam2.sam2_video_predictor"
NETWORK = f"{MODULE}.SAM2VideoPredictor"
MASKS_AT_ONCE = 32  # followed in one pass over the images; at 1024 pixels each takes about 13 MB
COLOUR_MEAN, COLOUR_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as SAM 2 was trained


class Sam2Propagator:
    """Follows masks forward or backward through a window of images.

    Memory is bounded by the masks that are followed at once and by what the model looks back at, not by the number
    of images.

    Args:
        propagator_model: a configuration of the package; empty = sam2.1_hiera_l, or the model of a published file.
        propagator_checkpoint: the file with its weights; empty = the published one; "random" = untrained.
        propagator_image_size: pixels at which it looks; 0 = 1024.

    Raises:
        MissingDependencyError: if the package or the weights are missing, with the command that gets them.
        WeightsError: if the file does not hold the weights of this model.
    """

    def __init__(
        self,
        *,
        propagator_model: str = "",
        propagator_checkpoint: str = "",
        propagator_image_size: int = 0,
        device: torch.device,
        download: bool = False,
        seed: int = 0,
    ) -> None:
        require(sam2_models.PACKAGE, MODULE)
        source = Source("sam2", propagator_model, propagator_checkpoint, download)
        self.description = source.description
        self.device = device
        self._model = sam2_models.build(
            NETWORK, source, propagator_image_size, seed, device, binarize_mask_from_pts_for_mem_enc=True
        )
        self._model.memory_attention.register_forward_pre_hook(_in_the_precision_of_the_weights, with_kwargs=True)

    @staticmethod
    def is_available(*, propagator_model: str, propagator_checkpoint: str, download: bool) -> str:
        """Why it does not work here with these options, in one sentence; empty where it does."""
        return sam2_models.problem(Source("sam2", propagator_model, propagator_checkpoint, download), MODULE)

    def propagate(self, images: ImageSource, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        """The masks [K, H, W] bool in the images from `start` on, with each image's index, on the CPU.

        `start` itself comes first with the masks as given. More masks than are followed at once take more passes;
        what the passes before the last found is kept as one bit per pixel.
        """
        *earlier, last = masks.cpu().split(MASKS_AT_ONCE)
        found = [
            [np.packbits(some.numpy(), axis=None) for _, some in self._follow(images, start, group, reverse)]
            for group in earlier
        ]
        for step, (index, some) in enumerate(self._follow(images, start, last, reverse)):
            parts = [_unpacked(kept[step], group) for kept, group in zip(found, earlier, strict=True)]
            yield index, torch.cat([*parts, some])

    def _follow(self, images: ImageSource, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        yield start, masks
        if start == (0 if reverse else len(images) - 1):
            return
        with reduced_precision(self.device):
            state = self._state(images, *masks.shape[1:])
            for number, mask in enumerate(masks):
                self._model.add_new_mask(state, frame_idx=start, obj_id=number, mask=mask)
        frames = self._model.propagate_in_video(state, start_frame_idx=start, reverse=reverse)
        while True:
            # entered for each image, so that the caller's own code between two images computes as it wants
            with reduced_precision(self.device), replaced(_module(), "tqdm", lambda frames, **_: frames):
                index, _, logits = next(frames, (NONE, (), None))
            if logits is None:
                return
            if index != start:
                yield index, (logits[:, 0] > 0.0).cpu()
            _forget(state, index, self._model)

    def _state(self, images: ImageSource, height: int, width: int) -> dict[str, Any]:
        frames = _Frames(images, self._model.image_size)
        with replaced(_module(), "load_video_frames", lambda **_: (frames, height, width)):
            return self._model.init_state(video_path="")


class _Frames:
    """Images as the model wants them, each loaded when it is looked at."""

    def __init__(self, images: ImageSource, size: int) -> None:
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:  # [3, size, size]
        image = torch.from_numpy(np.ascontiguousarray(self.images[index])).permute(2, 0, 1)[None].float() / 255.0
        size = (self.size, self.size)
        image = torch.nn.functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)[0]
        return (image - torch.tensor(COLOUR_MEAN)[:, None, None]) / torch.tensor(COLOUR_DEVIATION)[:, None, None]


def _forget(state: dict[str, Any], index: int, model: Any) -> None:
    """Drops what the model will not look back at from here on; it keeps everything otherwise."""
    reach = max(model.num_maskmem * model.memory_temporal_stride_for_eval, model.max_obj_ptrs_in_encoder)
    for outputs in state["output_dict_per_obj"].values():
        remembered = outputs["non_cond_frame_outputs"]
        for old in [frame for frame in remembered if abs(frame - index) > reach]:
            del remembered[old]


def _in_the_precision_of_the_weights(module: torch.nn.Module, positional: tuple, named: dict) -> tuple[tuple, dict]:
    """Memories are kept in bfloat16, which the layers refuse where nothing else raises the precision."""
    precision = next(module.parameters()).dtype
    return positional, {**named, "memory": named["memory"].to(precision)}


def _unpacked(bits: NDArray[np.uint8], like: Tensor) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits, count=like.numel()).view(np.bool_)).reshape(like.shape)


def _module() -> ModuleType:
    from sam2 import sam2_video_predictor

    return sam2_video_predictor
