# SPDX-License-Identifier: Apache-2.0
"""check-bag: what a recording holds, whether it can be mapped, and the commands that map it."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from ccl_lgs_ros.capture_parts import assembler_of, selector_of
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import BagError, CclLgsError
from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import sharpness
from ccl_lgs_ros.ingest.images import decode_colour
from ccl_lgs_ros.ingest.records import CameraInfoRecord
from ccl_lgs_ros.recording import Recording, open_recording
from ccl_lgs_ros.storage.bag import Bag

WANTED_KEYFRAMES = 40  # fewer make a poor map, unless the recording has no more
MAX_DECODED = 500  # images that are decoded to foresee which are too blurred
GATE_FACTORS = (0.5, 0.3, 0.2, 0.1)  # of the motion that makes a keyframe, tried in this order
MIN_UP_COSINE = 0.5  # cameras are mostly held within 60 degrees of upright
LOOKS_DOWN_COSINE = -0.7  # a camera that looks straight down has no upright


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the selection knows of an image."""

    stamp_ns: int
    world_from_camera: NDArray[np.float64]
    camera_name: str
    sharpness: float | None  # None: not decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class BagReport:
    """What is in a recording; `str()` is the text for a person."""

    path: Path
    can_be_mapped: bool
    reason: str  # why not; empty if it can
    lines: list[str]  # what there is, a line each
    warnings: list[str] = field(default_factory=list)
    num_images: int = 0
    num_posed: int = 0  # images with all that belongs to them
    num_keyframes: int = 0  # estimated with the default options
    num_suggested: int = 0  # estimated with the suggested options
    settings: dict[str, str] = field(default_factory=dict)  # suggested options, by dotted name

    @property
    def commands(self) -> list[str]:
        """The commands that map it: one for the command line, then those for the nodes."""
        settings = " ".join(f"--set {shlex.quote(f'{name}={value}')}" for name, value in self.settings.items())
        bag = shlex.quote(str(self.path))
        name = shlex.quote(f"{self.path.stem}_map")
        alone = " ".join(f"ccl-lgs map {bag} -o {name} {settings}".split())
        launch = f"ros2 launch ccl_lgs_ros mapping.launch.py bag:={bag}"
        if not self.settings:
            return [alone, launch]
        return [alone, f"echo {shlex.quote(self.parameters)} > options.yaml", f"{launch} params_file:=options.yaml"]

    @property
    def parameters(self) -> str:
        """The suggested options as a ROS parameter file in one line; numbers carry a point, as ROS wants doubles."""
        values = {name: yaml.safe_load(value) for name, value in self.settings.items()}
        floats = {n: [float(x) for x in v] if isinstance(v, list) else float(v) for n, v in values.items()}
        return yaml.safe_dump({"/**": {"ros__parameters": floats}}, default_flow_style=True, width=1000).strip()

    def __str__(self) -> str:
        lines = [str(self.path), *(f"  {line}" for line in self.lines)]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        if not self.can_be_mapped:
            return "\n".join([*lines, f"cannot be mapped: {self.reason}"])
        return "\n".join([*lines, "can be mapped:", *(f"  {command}" for command in self.commands)])


def check_bag(path: Path | str, config: MapConfig | None = None) -> BagReport:
    """Look through a recording.

    Raises:
        BagError: if it cannot be read at all.
    """
    config = config or MapConfig()
    with Bag(path) as bag:
        lines = _topic_lines(bag) if bag.topics else []
        try:
            recording = open_recording(bag, config)
            return _report(recording, config, lines)
        except BagError as error:
            return BagReport(path=Path(path), can_be_mapped=False, reason=str(error), lines=lines)


def _report(recording: Recording, config: MapConfig, lines: list[str]) -> BagReport:
    drops = Drops()
    seen = _seen(recording, config, drops)
    if not seen:
        reason = "; ".join(text for text in drops.first.values()) or "no image has all that belongs to it"
        raise BagError(f"none of the {recording.num_images} images can be used: {reason}")
    warnings = [*recording.notes, *(f"{drops.counts[reason]} images: {text}" for reason, text in drops.first.items())]
    settings: dict[str, str] = {}
    up = _disagreeing_up(seen, config)
    if up is not None:
        settings["frames.map_up"] = up
        warnings.append(f"the cameras are not upright for map_up {list(config.frames.map_up)}; {up} fits them")
    default = _count(seen, config)
    gates, suggested = _gates(seen, config, default)
    settings |= gates
    estimate = f"keyframes: about {default} with the default options"
    if gates:
        estimate += f", about {suggested} with {', '.join(f'{name}={value}' for name, value in gates.items())}"
    return BagReport(
        path=recording.bag.path,
        can_be_mapped=True,
        reason="",
        lines=[*lines, *_role_lines(recording, config), estimate],
        warnings=warnings,
        num_images=recording.num_images,
        num_posed=len(seen),
        num_keyframes=default,
        num_suggested=suggested,
        settings=settings,
    )


def _topic_lines(bag: Bag) -> list[str]:
    first, last = bag.span_ns
    seconds = (last - first) / 1e9
    width = max(len(name) for name in bag.topics)
    lines = [f"{seconds:.1f} s, {sum(topic.count for topic in bag.topics.values())} messages"]
    for topic in bag.topics.values():
        rate = f"{(topic.count - 1) / seconds:7.1f} Hz" if seconds > 0 and topic.count > 1 else "          "
        lines.append(f"{topic.name:<{width}}  {topic.count:6d} x {rate}  {topic.type}")
    return lines


def _role_lines(recording: Recording, config: MapConfig) -> list[str]:
    topics, infos = recording.topics, recording.infos
    colour = next((info for info in infos if not info.is_depth), None)
    depth = next((info for info in infos if info.is_depth), None)
    lines = [f"colour: {topics.image}, {_described(recording, topics.image)}"]
    if colour is not None:
        model = colour.distortion_model if any(colour.d) else "no distortion"
        lines[-1] += f", {colour.width}x{colour.height}, f = {colour.k[0]:.1f}, {model}"
    lines.append(_depth_line(recording, colour, depth))
    frame, map_frame = recording.camera_frame, config.frames.map_frame
    if recording.pose_source == "tf":
        lines.append(f"poses: tf joins '{map_frame}' and '{frame}'")
    else:
        lines.append(f"poses: {topics.pose} (tf does not join '{map_frame}' and '{frame}')")
    return lines


def _depth_line(recording: Recording, colour: CameraInfoRecord | None, depth: CameraInfoRecord | None) -> str:
    topic = recording.topics.depth
    if not topic:
        return "depth: none"
    text = f"depth: {topic}, {_described(recording, topic)}"
    sent_from = recording.samples[topic].header.frame_id.lstrip("/")
    if depth is None:
        return f"{text}, no camera_info: taken to be registered to the colour images"
    is_one_frame = sent_from in ("", recording.camera_frame)
    if is_one_frame and colour is not None and depth.intrinsics_key == colour.intrinsics_key:
        return f"{text}, registered to the colour images"
    return (
        f"{text}, not registered (f = {depth.k[0]:.1f}, {depth.width}x{depth.height}, "
        f"frame '{sent_from}'): it is reprojected"
    )


def _described(recording: Recording, topic: str) -> str:
    sample = recording.samples[topic]
    return str(getattr(sample, "format", "") or getattr(sample, "encoding", ""))


def _seen(recording: Recording, config: MapConfig, drops: Drops) -> list[Seen]:
    """Every image that has all that belongs to it, in the order of selection."""
    assembler = assembler_of(
        config,
        drops,
        use_depth=bool(recording.topics.depth),
        pose_source=recording.pose_source,
        transforms=recording.transforms,
    )
    for record in (*recording.infos, *recording.poses):
        assembler.add(record)
    is_decoded = recording.num_images <= MAX_DECODED
    seen = []

    def look(is_end: bool) -> None:
        for frame in assembler.ready(is_end=is_end):
            try:
                sharp = sharpness(decode_colour(frame.colour)) if is_decoded else None
            except (CclLgsError, ValueError, cv2.error) as error:
                drops.add("format", str(error))
                continue
            seen.append(
                Seen(
                    stamp_ns=frame.stamp_ns,
                    world_from_camera=frame.world_from_camera,
                    camera_name=frame.camera_name,
                    sharpness=sharp,
                )
            )

    for record in recording.images():
        assembler.add(record)
        look(is_end=False)
    look(is_end=True)
    return seen


def _count(seen: list[Seen], config: MapConfig) -> int:
    """Keyframes that the selection would take."""
    selector = selector_of(config)
    count = 0
    for image in seen:
        sharp = 1.0 if image.sharpness is None else image.sharpness
        image_of = (image.stamp_ns, image.world_from_camera)
        if selector.refusal(*image_of, image.camera_name):
            continue
        if selector.refusal_of_image(*image_of, sharp, image.camera_name):
            continue
        selector.keep(*image_of, sharp, image.camera_name)
        count += 1
    return count


def _gates(seen: list[Seen], config: MapConfig, default: int) -> tuple[dict[str, str], int]:
    """Motion gates that give enough keyframes, and how many; nothing where the default ones do."""
    wanted = min(WANTED_KEYFRAMES, len(seen))
    best: tuple[dict[str, str], int] = ({}, default)
    if default >= wanted:
        return best
    options = config.keyframes
    for factor in GATE_FACTORS:
        gates = {
            "keyframes.min_translation": f"{options.min_translation * factor:.3g}",
            "keyframes.min_rotation": f"{options.min_rotation * factor:.3g}",
        }
        count = _count(seen, updated(config, gates))
        if count > best[1]:
            best = (gates, count)
        if count >= wanted:
            break
    return best


def _disagreeing_up(seen: list[Seen], config: MapConfig) -> str | None:
    """The axis that is up for the cameras, where they disagree with map_up."""
    rotations = np.stack([image.world_from_camera[:3, :3] for image in seen])
    up, forward = -rotations[:, :, 1].mean(axis=0), rotations[:, :, 2].mean(axis=0)
    map_up = np.array(config.frames.map_up) / np.linalg.norm(config.frames.map_up)
    if up @ map_up >= MIN_UP_COSINE or forward @ map_up <= LOOKS_DOWN_COSINE:
        return None
    axis = int(np.abs(up).argmax())
    if abs(up[axis]) < MIN_UP_COSINE:
        return None
    fitting = [0, 0, 0]
    fitting[axis] = 1 if up[axis] > 0 else -1
    return f"[{','.join(map(str, fitting))}]"
