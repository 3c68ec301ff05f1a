# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are colour, depth, intrinsics and poses, and what its first pass finds in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import BagError
from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, DEPTH_ENCODINGS
from ccl_lgs_ros.ingest.messages import (
    POSE_TYPES,
    camera_info_record,
    cloud_record,
    colour_record,
    depth_record,
    label_record,
    pose_record,
    transform_records,
)
from ccl_lgs_ros.ingest.records import CameraInfoRecord, PoseRecord, Record
from ccl_lgs_ros.ingest.transforms import TransformBuffer
from ccl_lgs_ros.storage.bag import Bag

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
CLOUD = "sensor_msgs/msg/PointCloud2"
STATIC_TF = "/tf_static"
TRANSPORTS = ("compressed", "compressedDepth", "theora", "ffmpeg", "zstd")
NOT_COLOUR = ("label", "segm", "mask", "semantic", "disparity", "confidence", "normal", "ground_truth", "theora")
LESS_COLOUR = ("infra", "/ir", "mono", "left", "right", "thermal", "debug", "overlay", "annotated")
MORE_COLOUR = ("color", "colour", "rgb")
NOT_DEPTH = ("color", "label", "segm", "mask", "confidence", "disparity", "ground_truth")
MORE_DEPTH = ("aligned", "registered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The chosen topics; empty where there is none."""

    image: str
    camera_info: str
    depth: str = ""
    depth_info: str = ""
    pose: str = ""
    label: str = ""
    cloud: str = ""


@dataclass(slots=True, kw_only=True)
class Recording:
    """A bag, its topics by role, and everything of it but the images."""

    bag: Bag
    topics: Topics
    notes: list[str]  # what a person should know about the choice
    samples: dict[str, Any]  # the first message of the chosen images
    transforms: TransformBuffer = field(default_factory=TransformBuffer)
    infos: list[CameraInfoRecord] = field(default_factory=list)
    poses: list[PoseRecord] = field(default_factory=list)
    pose_source: str = "tf"
    camera_frame: str = ""
    camera_name: str = ""

    @property
    def num_images(self) -> int:
        """Colour images."""
        return self.bag.topics[self.topics.image].count

    def images(self) -> Iterator[Record]:
        """The second pass: colour, depth, labels and clouds as recorded, not decoded."""
        return images_of([self])

    def of_camera(self, name: str, *, has_own_poses: bool) -> "Recording":
        """The same, of one camera among several, which has a pose topic of its own or shares one."""
        infos = [replace(info, camera_name=name) for info in self.infos]
        poses = [replace(pose, camera_name=name) for pose in self.poses] if has_own_poses else self.poses
        return replace(self, infos=infos, poses=poses, camera_name=name)


def images_of(recordings: Sequence[Recording]) -> Iterator[Record]:
    """The second pass over a bag for all of its cameras at once."""
    readers: dict[str, Callable[[Any], Record]] = {}
    for r in recordings:
        roles = ((r.topics.image, colour_record), (r.topics.depth, depth_record), (r.topics.label, label_record))
        readers |= {topic: partial(make, topic=topic, camera_name=r.camera_name) for topic, make in roles}
        readers[r.topics.cloud] = cloud_record
    readers.pop("", None)
    for topic, _, message in recordings[0].bag.messages(set(readers)):
        yield readers[topic](message)


def open_recording(
    bag: Bag,
    config: MapConfig,
    *,
    image_topic: str = "",
    depth_topic: str = "",
    camera_info_topic: str = "",
    pose_topic: str = "",
    label_topic: str = "",
) -> Recording:
    """Choose the topics and read all but the images; static transforms hold for the whole recording.

    Raises:
        BagError: if something that mapping needs is missing, naming the fix.
    """
    notes: list[str] = []
    if not bag.topics:
        raise BagError(f"the recording {bag.path} is empty; record it again")
    image, image_sample = _image_topic(bag, image_topic, notes)
    depth, depth_sample = _depth_topic(bag, depth_topic, notes) if config.ingest.use_depth else ("", None)
    info = _info_topic(bag, image, camera_info_topic, "--camera-info-topic")
    if not info:
        raise BagError(
            f"no camera_info belongs to {image}; record {image.rpartition('/')[0]}/camera_info too, or name one: "
            "--camera-info-topic"
        )
    depth_info = _info_topic(bag, depth, "", "") if depth else ""
    pose = _pose_topic(bag, pose_topic, notes)
    label = _named(bag, label_topic, (IMAGE, COMPRESSED), "--label-topic")[0] if label_topic else ""
    cloud = config.ingest.cloud_topic
    if cloud:
        _named(bag, cloud, (CLOUD,), "--set ingest.cloud_topic")
    recording = Recording(
        bag=bag,
        topics=Topics(
            image=image, camera_info=info, depth=depth, depth_info=depth_info, pose=pose, label=label, cloud=cloud
        ),
        notes=notes,
        samples={topic: sample for topic, sample in ((image, image_sample), (depth, depth_sample)) if topic},
    )
    _read_all_but_images(recording)
    _choose_pose_source(recording, config, is_pose_named=bool(pose_topic))
    return recording


def _read_all_but_images(recording: Recording) -> None:
    bag, topics = recording.bag, recording.topics
    tf = [topic.name for topic in bag.topics.values() if topic.type == TF]
    wanted = {*tf, topics.camera_info, topics.depth_info, topics.pose} - {""}
    infos: dict[bool, CameraInfoRecord] = {}
    for topic, _, message in bag.messages(wanted):
        if topic in tf:
            for transform in transform_records(message, is_static=topic.endswith(STATIC_TF)):
                try:
                    recording.transforms.add(transform)
                except ValueError as error:
                    if str(error) not in recording.notes:
                        recording.notes.append(str(error))
        if topic == topics.pose:
            recording.poses.append(pose_record(message))
        for is_depth, name in ((False, topics.camera_info), (True, topics.depth_info)):
            if topic == name:
                info = camera_info_record(message, is_depth=is_depth)
                if is_depth not in infos or infos[is_depth].intrinsics_key != info.intrinsics_key:
                    infos[is_depth] = info
                    recording.infos.append(info)


def _choose_pose_source(recording: Recording, config: MapConfig, *, is_pose_named: bool) -> None:
    sample = recording.samples[recording.topics.image]
    infos = [info for info in recording.infos if not info.is_depth]
    frame = config.frames.camera_frame or sample.header.frame_id.lstrip("/") or (infos[0].frame_id if infos else "")
    recording.camera_frame = frame
    if not frame:
        raise BagError(f"the images of {recording.topics.image} name no frame; add --set frames.camera_frame=NAME")
    map_frame, wanted = config.frames.map_frame, config.ingest.pose_source
    if wanted == "auto" and is_pose_named:
        wanted = "topic"
    if wanted in ("auto", "tf") and recording.transforms.connects(map_frame, frame):
        recording.pose_source = "tf"
    elif wanted != "tf" and recording.poses:
        recording.pose_source = "topic"
    else:
        raise BagError(_no_poses(recording, map_frame, frame))


def _no_poses(recording: Recording, map_frame: str, frame: str) -> str:
    path, transforms = recording.bag.path, recording.transforms
    if not transforms.frames:
        return (
            f"the recording {path} has no poses: no /tf and no pose topic; run localisation or SLAM while recording, "
            "and record /tf and /tf_static"
        )
    roots = sorted(root for root in transforms.roots if transforms.connects(root, frame))
    if map_frame not in transforms.frames and roots:
        return (
            f"tf of {path} has no frame '{map_frame}', but leads from '{roots[0]}' to the camera; "
            f"add --set frames.map_frame={roots[0]}"
        )
    known = ", ".join(sorted(transforms.frames))
    return (
        f"tf of {path} does not join '{map_frame}' and the camera's frame '{frame}' (frames: {known}); record the "
        "missing transforms, or set frames.map_frame or frames.camera_frame"
    )


def _image_topic(bag: Bag, named: str, notes: list[str]) -> tuple[str, Any]:
    if named:
        return _named(bag, named, (IMAGE, COMPRESSED), "--image-topic")
    found = []
    for topic, sample in _images(bag):
        name = topic.lower()
        if any(word in name for word in (*NOT_COLOUR, "depth")) or not _is_colour(sample):
            continue
        score = (any(w in name for w in MORE_COLOUR), not any(w in name for w in LESS_COLOUR), "rect" in name)
        found.append(((*score, not hasattr(sample, "format"), bag.topics[topic].count), topic, sample))
    if not found:
        raise BagError(f"the recording {bag.path} has no colour images; it has {_listed(bag)}; name one: --image-topic")
    return _best(found, "colour", "--image-topic", notes)


def _depth_topic(bag: Bag, named: str, notes: list[str]) -> tuple[str, Any]:
    if named:
        return _named(bag, named, (IMAGE, COMPRESSED), "--depth-topic")
    found = []
    for topic, sample in _images(bag):
        name = topic.lower()
        kind = getattr(sample, "format", None) or getattr(sample, "encoding", "")
        is_depth = kind == "32FC1" or "compressedDepth" in kind or (kind in DEPTH_ENCODINGS and "depth" in name)
        is_depth = is_depth or ("png" in kind and "depth" in name)
        if not is_depth or (any(word in name for word in NOT_DEPTH) and not any(w in name for w in MORE_DEPTH)):
            continue
        score = (any(w in name for w in MORE_DEPTH), "rect" in name, not hasattr(sample, "format"))
        found.append(((*score, bag.topics[topic].count), topic, sample))
    if not found:
        return "", None
    return _best(found, "depth", "--depth-topic", notes)


def _best(found: list[tuple[tuple, str, Any]], what: str, option: str, notes: list[str]) -> tuple[str, Any]:
    found.sort(key=lambda item: item[1])
    found.sort(key=lambda item: item[0], reverse=True)
    _, topic, sample = found[0]
    others = [_without_transport(other) for _, other, _ in found[1:]]
    others = sorted({other for other in others if other != _without_transport(topic)})
    if others:
        notes.append(f"{what} is taken from {topic}; there is also {', '.join(others)} ({option} chooses)")
    return topic, sample


def _info_topic(bag: Bag, image: str, named: str, option: str) -> str:
    if named:
        return _named(bag, named, (CAMERA_INFO,), option)[0]
    beside = _without_transport(image).rpartition("/")[0] + "/camera_info"
    infos = [topic.name for topic in bag.topics.values() if topic.type == CAMERA_INFO]
    if beside in infos:
        return beside
    frame = next(message for _, _, message in bag.messages([image])).header.frame_id
    for topic in infos:
        if frame and next(message for _, _, message in bag.messages([topic])).header.frame_id == frame:
            return topic
    return ""


def _pose_topic(bag: Bag, named: str, notes: list[str]) -> str:
    if named:
        return _named(bag, named, POSE_TYPES, "--pose-topic")[0]
    found = [topic for topic in bag.topics.values() if topic.type in POSE_TYPES and "goal" not in topic.name]
    found.sort(key=lambda topic: ("camera" not in topic.name, POSE_TYPES.index(topic.type), topic.name))
    return found[0].name if found else ""


def _named(bag: Bag, name: str, types: tuple[str, ...], option: str) -> tuple[str, Any]:
    if name not in bag.topics:
        fitting = [topic.name for topic in bag.topics.values() if topic.type in types]
        near = get_close_matches(name, fitting, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BagError(f"there is no topic {name} in {bag.path}; {hint}it has {_listed(bag)}; correct {option}")
    kind = bag.topics[name].type
    if kind not in types:
        raise BagError(f"{name} holds {kind}; {option} takes {' or '.join(types)}")
    return name, next(message for _, _, message in bag.messages([name]))


def _images(bag: Bag) -> Iterator[tuple[str, Any]]:
    """The image topics with their first messages."""
    for topic in bag.topics.values():
        if topic.type in (IMAGE, COMPRESSED):
            yield topic.name, next(message for _, _, message in bag.messages([topic.name]))


def _is_colour(sample: Any) -> bool:
    if hasattr(sample, "format"):
        return "compressedDepth" not in sample.format and not sample.format.startswith(("16UC1", "32FC1"))
    return sample.encoding in COLOUR_ENCODINGS and sample.encoding != "16UC1"


def _without_transport(topic: str) -> str:
    base, _, last = topic.rpartition("/")
    return base if last in TRANSPORTS else topic


def _listed(bag: Bag) -> str:
    return ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics.values()) or "no messages"
