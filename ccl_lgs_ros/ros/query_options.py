# SPDX-License-Identifier: Apache-2.0
"""The parameters of the query node beside those of config.py."""

from dataclasses import dataclass

from ccl_lgs_ros.options import option
from ccl_lgs_ros.ros.keyframe_options import DEFAULT_MAP_PATH, SAVE_ROOT_MEANING


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryNodeOptions:
    """Which map is asked, what is published of the answers, and how much may be asked for."""

    map_path: str = option(DEFAULT_MAP_PATH, "Map directory; waited for if there is none yet.")
    save_root: str = option("", SAVE_ROOT_MEANING)
    autostart: bool = option(True, "Configure and activate at once; false leaves that to a lifecycle manager.")
    watch_period: float = option(0.5, "Seconds between looks for a new version of the map.", low=0.05, high=60)
    vocabulary: str = option(
        "", "Names of things, separated by commas, for label_info, the labels of semantic_cloud and get_map_info."
    )
    publish_results: bool = option(
        True,
        "Publish the answers on the topics query/...; services answer in any case.",
    )
    viz_max_points: int = option(
        200_000, "Points in gaussian_cloud and semantic_cloud; more slow viewers.", low=100, high=10_000_000
    )
    preview_period: float = option(1.0, "Seconds between pictures on preview, at least.", low=1, high=3600)
    max_queue: int = option(64, "Requests that may wait for their turn; more are told BUSY.", low=1, high=1000)
    max_wait: float = option(3.0, "Seconds after which a waiting request is told BUSY.", low=0.1, high=60)
    max_prompt_length: int = option(1000, "Characters in a prompt.", low=1, high=100_000)
    max_prompts: int = option(64, "Texts in a request of encode_text.", low=1, high=10_000)
    max_points: int = option(
        100_000, "Gaussians that an answer lists, in its indices and its cloud; more are thinned evenly.", low=100
    )
    max_pixels: int = option(4_000_000, "Pixels in a picture of render_view.", low=1, high=100_000_000)
    publish_occupancy: bool = option(False, "Publish the grid of each version of the map on occupancy.")
    costmap_topic: str = option(
        "", "A planner's costmap (nav2: /global_costmap/costmap) that poses to drive to must respect; '' = none."
    )
    costmap_max_age: float = option(
        10.0, "Seconds after which a costmap that came is left out; 0 = never. nav2: always_send_full_costmap.", low=0
    )
    keepout_prompts: str = option(
        "", "What robots shall keep out of, separated by commas ('glass door, rug'), for query/keepout; '' = none."
    )
    collision_prompts: str = option(
        "", "What arms must not hit, separated by commas, for planning_scene (MoveIt); '' = none."
    )
    collision_target: str = option(
        "excluded",
        "The thing that was asked for last: excluded = left out of planning_scene, so that it can be grasped; kept = "
        "in it, for planners that allow the contact themselves.",
        choices=("excluded", "kept"),
    )


CHANGEABLE = (
    *("publish_results", "viz_max_points", "preview_period", "max_queue", "max_wait"),
    *("max_prompt_length", "max_prompts", "max_points", "max_pixels", "publish_occupancy", "costmap_max_age"),
    *("keepout_prompts", "collision_prompts", "collision_target"),
)
