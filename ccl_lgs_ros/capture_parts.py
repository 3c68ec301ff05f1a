# SPDX-License-Identifier: Apache-2.0
"""The parts of a capture as the options ask for them, for the live node and for recordings."""

from collections.abc import Mapping

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.ingest.corrections import PathCorrector
from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import FrameDecoder
from ccl_lgs_ros.ingest.images import ColourDecoder, decode_colour
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
    camera_frames: Mapping[str, str] | None = None,
    transforms: TransformBuffer | None = None,
) -> Assembler:
    """What joins messages to frames; what is given and not empty replaces the options, `camera_frames` by camera."""
    ingest = config.ingest
    return Assembler(
        map_frame=config.frames.map_frame,
        camera_frame=camera_frame or config.frames.camera_frame,
        camera_frames=camera_frames or {},
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


def corrector_of(config: MapConfig, first_camera: str, transforms: TransformBuffer) -> PathCorrector:
    """What moves keyframes as a path has it."""
    return PathCorrector(
        map_frame=config.frames.map_frame,
        body_frame=config.ingest.corrected_frame,
        first_camera=first_camera,
        slop=config.ingest.sync_slop,
        gap=config.ingest.corrected_gap,
        transforms=transforms,
    )


def decoder_of(config: MapConfig, decode_colour: ColourDecoder = decode_colour) -> FrameDecoder:
    """What decodes frames; raises ConfigError where no depth could be within the limits."""
    ingest = config.ingest
    near, far = ingest.depth_min, ingest.depth_max
    if near >= far:
        raise ConfigError(f"option 'ingest.depth_min' ({near:g}) must be less than ingest.depth_max ({far:g})")
    return FrameDecoder(
        max_image_size=ingest.max_image_size,
        depth_scale=ingest.depth_scale,
        depth_min=ingest.depth_min,
        depth_max=ingest.depth_max,
        depth_min_valid_ratio=ingest.depth_min_valid_ratio,
        decode_colour=decode_colour,
    )


def selector_of(config: MapConfig) -> KeyframeSelector:
    """What chooses keyframes; raises ConfigError where the options contradict each other."""
    options = config.keyframes
    if 0 < options.max_interval < options.min_interval:
        raise ConfigError(
            f"option 'keyframes.max_interval' ({options.max_interval:g}) must be 0 or at least keyframes.min_interval "
            f"({options.min_interval:g})"
        )
    return KeyframeSelector(
        min_translation=options.min_translation,
        min_rotation=options.min_rotation,
        min_interval=options.min_interval,
        max_interval=options.max_interval,
        min_sharpness=options.min_sharpness,
        max_count=options.max_count,
        overflow=options.overflow,
        max_speed=options.max_speed,
    )
