# SPDX-License-Identifier: Apache-2.0
"""The cameras of a map's keyframes, as questions need them: poses in memory, coarse depth read when asked for."""

import logging

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.recent import Recent
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.keyframe_pixels import read_depth
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore

logger = logging.getLogger(__name__)

COARSE = 64, 48  # pixels: what hides a thing of a few decimetres is seen
KEPT_DEPTHS = 512  # 3 MB


def viewed_from(store: KeyframeStore) -> ViewedFrom:
    """The cameras of a store as it is now; make it anew when the store has grown or its poses were corrected.

    It takes some 200 bytes a keyframe, and at most KEPT_DEPTHS coarse depth images, each read when first asked for.
    """
    entries = store.entries

    def coarse_depth(view: int) -> NDArray[np.float16] | None:
        try:
            return coarse(read_depth(own_file(store.path, entries[view].depth_name)))
        except MapError as error:
            logger.warning("what hides things from keyframe %s is not known: %s", entries[view].id, error)
            return None

    depths = Recent(lambda: len(entries), coarse_depth, KEPT_DEPTHS)
    return ViewedFrom(
        keyframe_ids=np.array([entry.id for entry in entries], np.int64),
        cameras=tuple(entry.camera for entry in entries),
        world_from_camera=np.array([entry.world_from_camera for entry in entries], np.float64).reshape(-1, 4, 4),
        sharpness=np.array([entry.sharpness for entry in entries], np.float64),
        depth_of=lambda view: depths[view] if entries[view].depth_name else None,
    )


def coarse(depth: NDArray[np.floating]) -> NDArray[np.float16]:
    """Depth [H, W] as small as COARSE or smaller: the farthest of each block, so that what is seen stays seen.

    0 where nothing of a block is known.
    """
    (height, width), (columns, rows) = depth.shape, COARSE
    first_row = np.arange(min(rows, height)) * height // min(rows, height)
    first_column = np.arange(min(columns, width)) * width // min(columns, width)
    farthest = np.fmax.reduceat(np.fmax.reduceat(depth, first_row, axis=0), first_column, axis=1)
    return np.nan_to_num(farthest, nan=0.0).astype(np.float16)
