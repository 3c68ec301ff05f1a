# SPDX-License-Identifier: Apache-2.0
"""The parameters of the bag player."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class BagPlayerOptions:
    """What is played, how fast, and who must be there first."""

    bag_path: str = option("", "The recording.")
    bag_rate: float = option(1.0, "Speed of a recording that is played; 2 = twice as fast.", low=0.01, high=100)
    bag_start: float = option(
        0.0,
        "Seconds of a recording that is played to leave out at its start; static transforms are never left out.",
        low=0,
    )
    wait_for: tuple[str, ...] = option(
        (), "Nodes that must be ready before it begins; one of them must listen to its images."
    )
