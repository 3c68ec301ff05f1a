# SPDX-License-Identifier: Apache-2.0
"""Bounded counters in compiled code: votes put into the rows of a table, touching only the rows that have votes."""

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

logger = logging.getLogger(__name__)


def _compiled(function: Callable[..., None]) -> Any:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        logger.warning("compiled kernels cannot be kept; set NUMBA_CACHE_DIR to a folder that can be written")
        return numba.njit(nogil=True)(function)


@_compiled
def count_votes(track, weight, lost, gaussian, label, value):
    """Add votes to rows, in place; each row stays heaviest first, equal weights in the order in which they came.

    Where a row has no room for all, the heaviest of those that fall off is taken off every weight of the row and
    added to `lost`. So weights are never too high, by at most `lost` too low, and `lost` is at most the weight that
    the row has had in all, by S + 1.

    Args:
        track: [N, S] int32, -1 empty.
        weight: [N, S] float32, 0 where empty.
        lost: [N] float32.
        gaussian: [E] int64 rows, in order.
        label: [E] int64, no label twice in a row.
        value: [E] float32 > 0.

    Source: Misra and Gries, "Finding repeated elements" (1982), weighted and in batches as in Agarwal et al.,
    "Mergeable summaries" (2012), section 2.
    """
    slots = track.shape[1]
    is_known = np.zeros(len(gaussian), np.bool_)
    start = 0
    while start < len(gaussian):
        row, end = gaussian[start], start
        while end < len(gaussian) and gaussian[end] == row:
            for slot in range(slots):
                if track[row, slot] == label[end]:
                    weight[row, slot] += value[end]
                    is_known[end] = True
            end += 1
        for slot in range(1, slots):
            name, held, at = track[row, slot], weight[row, slot], slot
            while at > 0 and weight[row, at - 1] < held:
                track[row, at], weight[row, at] = track[row, at - 1], weight[row, at - 1]
                at -= 1
            track[row, at], weight[row, at] = name, held
        fallen = np.float32(0.0)
        for vote in range(start, end):
            if is_known[vote]:
                continue
            fallen = max(fallen, min(value[vote], weight[row, slots - 1]))
            at = slots
            while at > 0 and weight[row, at - 1] < value[vote]:
                if at < slots:
                    track[row, at], weight[row, at] = track[row, at - 1], weight[row, at - 1]
                at -= 1
            if at < slots:
                track[row, at], weight[row, at] = label[vote], value[vote]
        if fallen > 0:
            lost[row] += fallen
            for slot in range(slots):
                weight[row, slot] = max(weight[row, slot] - fallen, np.float32(0.0))
                if weight[row, slot] == 0:
                    track[row, slot] = -1
        start = end
