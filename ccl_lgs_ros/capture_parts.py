# SPDX-License-Identifier: Apache-2.0
"""The parts of a capture as the options ask for them, for the live node and for recordings."""

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import FrameDecoder
from ccl_lgs_ros.ingest.synchronize import Assembler
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.keyframes import KeyframeSelector


def assembler_of(
    config: MapConfig,
    drops: Drops,
    *,
    use_depth: bool,
    use_labels: bool = False,
    pose_source: str = "",
    camera_frame: str = "",
    transforms: TransformBuffer | None = None,
) -> Assembler:
    """What joins messages to frames; `pose_source` and `camera_frame` replace the options where they are not empty."""
    ingest = config.ingest
    return Assembler(
        map_frame=config.frames.map_frame,
        camera_frame=camera_frame or config.frames.camera_frame,
        use_depth=use_depth,
        use_labels=use_labels,
        pose_source=pose_source or ingest.pose_source,
        sync_slop=ingest.sync_slop,
        tf_timeout=ingest.tf_timeout,
        tf_cache=ingest.tf_cache,
        pending_queue=ingest.pending_queue,
        drops=drops,
        transforms=transforms,
        use_clouds=bool(ingest.cloud_topic),
        cloud_slop=ingest.cloud_slop,
    )


def decoder_of(config: MapConfig) -> FrameDecoder:
    """What decodes frames."""
    ingest = config.ingest
    return FrameDecoder(
        max_image_size=ingest.max_image_size,
        depth_scale=ingest.depth_scale,
        depth_min=ingest.depth_min,
        depth_max=ingest.depth_max,
        depth_min_valid_ratio=ingest.depth_min_valid_ratio,
    )


def selector_of(config: MapConfig) -> KeyframeSelector:
    """What chooses keyframes."""
    options = config.keyframes
    return KeyframeSelector(
        min_translation=options.min_translation,
        min_rotation=options.min_rotation,
        min_interval=options.min_interval,
        max_interval=options.max_interval,
        min_sharpness=options.min_sharpness,
        max_count=options.max_count,
        overflow=options.overflow,
    )
