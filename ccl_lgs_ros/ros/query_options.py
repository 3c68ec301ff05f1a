# SPDX-License-Identifier: Apache-2.0
"""The parameters of the query node beside those of config.py."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option
from ccl_lgs_ros.ros.keyframe_options import DEFAULT_MAP_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryNodeOptions:
    """Which map is asked, and what is published of the answers."""

    map_path: str = option(DEFAULT_MAP_PATH, "Map directory; waited for if there is none yet.")
    autostart: bool = option(True, "Configure and activate at once; false leaves that to a lifecycle manager.")
    watch_period: float = option(0.5, "Seconds between looks for a new version of the map.", low=0.05, high=60)
    publish_results: bool = option(True, "Publish the answers on query/points and query/markers.")
    viz_max_points: int = option(200_000, "Points in gaussian_cloud and semantic_cloud; more slow viewers.", low=100)
