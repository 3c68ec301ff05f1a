# SPDX-License-Identifier: Apache-2.0
"""The parameters of the demo's camera."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Which room, how much of it is recorded, and what comes after."""

    seed: int = option(1, "Which synthetic room.", low=0)
    num_frames: int = option(50, "Images of the drive through the room.", low=2, high=10_000)
    image_width: int = option(240, "Pixels of the demo's images from left to right.", low=64, high=1920)
    max_rate: float = option(10.0, "Images per second at most; drawing them may be slower.", low=0.1, high=100)
    ask: bool = option(True, "After the drive build the map, ask for two things of the room and one that it lacks.")
    iterations: int = option(300, "Steps of optimisation before the questions; below 0 = as for any map.", low=-1)
