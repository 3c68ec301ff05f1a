# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a view a step learns from, and which it is scored on."""

import torch
from torch import Tensor

from ccl_lgs_ros.field.decoder import MIN_ALPHA
from ccl_lgs_ros.structures import NONE

HELD_OUT_STRIDE = 4  # pixels; every such row and column is never learnt from, but scored
SCORED_SHARE = 8  # the batch is so many times the pixels that are scored


def drawn_pixels(wanted: Tensor, alpha: Tensor, batch_px: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flat indices of pixels to learn from and of others to be scored on, among those that the map covers.

    Args:
        wanted: [H, W] what each pixel should show, -1 nothing.
        alpha: [H, W].
        batch_px: pixels to learn from, at most; 0 = all.
    """
    is_usable = (wanted.to(alpha.device) != NONE) & (alpha.detach() > MIN_ALPHA)
    is_held_out = torch.zeros_like(is_usable)
    is_held_out[::HELD_OUT_STRIDE, ::HELD_OUT_STRIDE] = True
    learnt = torch.nonzero((is_usable & ~is_held_out).flatten())[:, 0]
    scored = torch.nonzero((is_usable & is_held_out).flatten())[:, 0]
    return at_most(batch_px, learnt, generator), at_most(-(-batch_px // SCORED_SHARE), scored, generator)


def at_most(count: int, rows: Tensor, generator: torch.Generator) -> Tensor:
    """So many of the rows, drawn with repetition where there are more; all of them if it is 0."""
    if count == 0 or len(rows) <= count:
        return rows
    return rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)]
