# SPDX-License-Identifier: Apache-2.0
"""The parameters of the training node beside those of config.py."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option
from ccl_lgs_ros.ros.keyframe_options import DEFAULT_MAP_PATH, SAVE_ROOT_MEANING, TRANSPORTS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNodeOptions:
    """When the map grows, is refined and is published."""

    map_path: str = option(DEFAULT_MAP_PATH, "Map directory; made if there is none, continued if there is one.")
    save_root: str = option("", SAVE_ROOT_MEANING)
    autostart: bool = option(True, "Configure and activate at once; false leaves that to a lifecycle manager.")
    train: bool = option(True, "Take in keyframes as they are stored; false builds only when build_map asks for it.")
    snapshot_period: float = option(10.0, "Seconds between published versions while keyframes come.", low=0.5)
    refine_idle: float = option(10.0, "Seconds without a new keyframe after which to refine; 0 = never.", low=0)
    refine_every: int = option(100, "New keyframes after which to refine though more come; 0 = never.", low=0)
    min_keyframes: int = option(2, "Keyframes without which there is no map to build.", low=1)
    niceness: int = option(10, "How far the worker stands back for other processes, as in nice(1).", low=0, high=19)
    keyframe_transport: str = option(
        "shared",
        "How keyframes come: shared = a keyframe node on this host writes them into map_path; topic = they are sent by "
        "a keyframe node on another host, which has keyframe_transport:=topic too, and written into map_path here.",
        choices=TRANSPORTS,
    )
