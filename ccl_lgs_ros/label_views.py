# SPDX-License-Identifier: Apache-2.0
"""Label images of a recording as labelled views: posed and undistorted like the colour images that they belong to."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.capture_parts import assembler_of, decoder_of
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import DecodeError, EvaluationError
from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import FrameDecoder, PosedFrame
from ccl_lgs_ros.ingest.labels import label_values
from ccl_lgs_ros.ingest.messages import colour_record, depth_record, is_rectified_topic
from ccl_lgs_ros.ingest.records import ColourRecord
from ccl_lgs_ros.recording import Recording, open_recording
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.evaluation_set import LabelledView
from ccl_lgs_ros.storage.polygons import polygons_of_mask


def labelled_views(bag: Bag, label_topic: str, prompts: Mapping[int, str], config: MapConfig) -> list[LabelledView]:
    """A view per label image, with the recording's depth where it has one at that stamp.

    Raises:
        EvaluationError: if the topic does not exist, is no label image, or its camera had no pose at a stamp.
    """
    if label_topic not in bag.topics:
        known = ", ".join(bag.topics)
        raise EvaluationError(f"{bag.path} has no topic {label_topic or '(none named)'}; it has {known}")
    recording = open_recording(bag, config)
    decoder = decoder_of(config)
    depths = dict(_depths(recording, label_topic, config, decoder)) if recording.topics.depth else {}
    views = []
    for frame in _posed(recording, label_topic, config, use_depth=False):
        views.append(_view(frame, prompts, decoder, depths.get(frame.stamp_ns)))
    expected = bag.topics[label_topic].count
    if len(views) < expected:
        raise EvaluationError(
            f"{expected - len(views)} of {expected} label images of {label_topic} have no pose in {bag.path}; "
            "record /tf from before the first to after the last"
        )
    return views


def _view(
    frame: PosedFrame, prompts: Mapping[int, str], decoder: FrameDecoder, depth: NDArray[np.float32] | None
) -> LabelledView:
    values = _values(frame.colour)
    blank = replace(frame.colour, data=np.zeros(values.size, np.uint8), encoding="mono8", step=0, is_compressed=False)
    blank = replace(blank, width=values.shape[1], height=values.shape[0])
    rectifier, _ = decoder.colour(replace(frame, colour=blank))  # the lens alone matters
    seen = rectifier.depth(values.astype(np.float32))  # nearest value, never a mean of two labels
    masks: dict[str, NDArray[np.bool_]] = {}
    for value, prompt in prompts.items():
        mask = seen == value
        if mask.any():
            masks[prompt] = masks.get(prompt, False) | mask
    boxes = {
        prompt: np.array([[*polygon.min(0), *polygon.max(0)] for polygon in polygons_of_mask(mask)], dtype=np.float64)
        for prompt, mask in masks.items()
    }
    return LabelledView(
        stem=str(frame.stamp_ns),
        camera=rectifier.camera,
        world_from_camera=frame.world_from_camera,
        masks=masks,
        boxes=boxes,
        depth=depth,
    )


def _values(record: ColourRecord) -> NDArray[np.integer]:
    try:
        return label_values(record)
    except DecodeError as error:
        raise EvaluationError(str(error)) from error


def _depths(
    recording: Recording, label_topic: str, config: MapConfig, decoder: FrameDecoder
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The depth of the colour images that the labels belong to, by stamp; those that lack it are left out."""
    stamps = {frame.stamp_ns for frame in _posed(recording, label_topic, config, use_depth=False)}
    for frame in _posed(recording, recording.topics.image, config, use_depth=True):
        if frame.stamp_ns in stamps:
            try:
                depth = decoder.depth(frame, decoder.colour(frame)[0])
            except DecodeError:
                continue
            if depth is not None:
                yield frame.stamp_ns, depth


def _posed(recording: Recording, topic: str, config: MapConfig, *, use_depth: bool) -> Iterator[PosedFrame]:
    assembler = assembler_of(
        config,
        Drops(),
        use_depth=use_depth,
        pose_source=recording.pose_source,
        camera_frame=config.frames.camera_frame or recording.camera_frame,
        transforms=recording.transforms,
    )
    for record in (*recording.infos, *recording.poses):
        assembler.add(record)
    topics = [topic, recording.topics.depth] if use_depth else [topic]
    is_rectified = is_rectified_topic(recording.topics.image)  # labels have the geometry of the colour images
    for name, _, message in recording.bag.messages(topics):
        if name == topic:
            assembler.add(replace(colour_record(message, name), is_rectified=is_rectified))
        else:
            assembler.add(depth_record(message, name))
        yield from assembler.ready()
    yield from assembler.ready(is_end=True)
