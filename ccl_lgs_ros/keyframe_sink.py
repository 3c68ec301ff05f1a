# SPDX-License-Identifier: Apache-2.0
"""What a capture asks of the place where its keyframes go."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe


class KeptKeyframe(Protocol):
    """What the selection must know of a keyframe that was stored before."""

    @property
    def stamp_ns(self) -> int: ...

    @property
    def world_from_camera(self) -> NDArray[np.float64]: ...

    @property
    def sharpness(self) -> float: ...

    @property
    def camera_name(self) -> str: ...


class KeyframeSink(Protocol):
    """Where keyframes go, as storage.keyframe_store.KeyframeStore: they are appended, and only their poses change."""

    def __len__(self) -> int: ...

    @property
    def entries(self) -> Sequence[KeptKeyframe]: ...

    def append(self, keyframe: Keyframe) -> bool: ...

    def correct(self, world_from_camera_of: Mapping[tuple[str, int], NDArray[np.float64]]) -> int: ...
