# SPDX-License-Identifier: Apache-2.0
"""What a worker does when memory runs out: it goes on at half the size, once."""

import gc

import torch

from ccl_lgs_ros.config import MapConfig, updated

MIN_WIDTH = 16  # pixels


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the GPU or the host gave no more memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def leaner(config: MapConfig) -> MapConfig:
    """The options with half the working width, a quarter of the pixels, and half as many Gaussians at most."""
    gaussians = config.gaussians
    return updated(
        config,
        {
            "gaussians.image_width": max(gaussians.image_width // 2, MIN_WIDTH),
            "gaussians.max_gaussians": max(gaussians.max_gaussians // 2, 100),
        },
    )


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
