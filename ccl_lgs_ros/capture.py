# SPDX-License-Identifier: Apache-2.0
"""From messages to stored keyframes, live or from a recording, by one path: the same messages give the same keyframes.

The live node feeds a `Capture`; `capture_bag` feeds one from a recording; `check_bag` says what that would give. None
of them loads torch.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ccl_lgs_ros.bag_report import BagReport, check_bag
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import BagError
from ccl_lgs_ros.ingest.records import ColourRecord
from ccl_lgs_ros.keyframe_capture import Capture
from ccl_lgs_ros.keyframe_sink import KeyframeSink
from ccl_lgs_ros.recording import Recording, Topics, open_recording
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.capture_log import CaptureRecord

__all__ = ["BagReport", "Capture", "CaptureReport", "capture_bag", "capture_of", "check_bag"]

logger = logging.getLogger(__name__)


class CaptureProgress(Protocol):
    """As protocols.Progress, which this module cannot import without torch."""

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReport:
    """What a recording gave."""

    path: Path
    topics: Topics
    num_images: int
    num_new: int  # keyframes that were stored
    num_keyframes: int  # keyframes in the store now
    counts: dict[str, int]  # images dropped, by reason
    first_drops: dict[str, str]  # the first of each reason, a sentence
    notes: list[str]
    seconds: float

    @property
    def record(self) -> CaptureRecord:
        """What of it is kept with the map."""
        return CaptureRecord(
            source=self.path.name,
            images=self.num_images,
            kept=self.num_new,
            dropped={reason: count for reason, count in self.counts.items() if count},
            first=self.first_drops,
            notes=tuple(self.notes),
        )

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.counts.items() if count) or "none"
        lines = [
            f"{self.path}: {self.num_images} images, {self.num_new} new keyframes ({self.num_keyframes} in the map), "
            f"dropped: {dropped}; {self.seconds:.1f} s",
        ]
        lines += [f"  {reason}: {text}" for reason, text in self.first_drops.items() if reason not in ("motion",)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def capture_bag(
    bag_path: Path | str,
    store: KeyframeSink,
    config: MapConfig,
    progress: CaptureProgress | None = None,
    *,
    image_topic: str = "",
    depth_topic: str = "",
    camera_info_topic: str = "",
    pose_topic: str = "",
    label_topic: str = "",
) -> CaptureReport:
    """Store the keyframes of a recording, reading no faster than they are stored: nothing is lost.

    Topics that are not named are found by type, but for `label_topic`: labels are used only where it is given. Frames
    whose keyframes the store holds already are passed over.

    Raises:
        BagError: if the recording cannot be read, lacks something, or gives no keyframe, naming the fix.
    """
    began = time.monotonic()
    with Bag(bag_path) as bag:
        recording = open_recording(
            bag,
            config,
            image_topic=image_topic,
            depth_topic=depth_topic,
            camera_info_topic=camera_info_topic,
            pose_topic=pose_topic,
            label_topic=label_topic,
        )
        capture = capture_of(recording, config, store)
        _run(capture, recording, store, progress)
        report = CaptureReport(
            path=bag.path,
            topics=recording.topics,
            num_images=capture.num_images,
            num_new=capture.num_kept,
            num_keyframes=len(store),
            counts=capture.counts,
            first_drops=dict(capture.drops.first),
            notes=recording.notes,
            seconds=time.monotonic() - began,
        )
    if not report.num_keyframes:
        reasons = "; ".join(f"{reason}: {text}" for reason, text in report.first_drops.items())
        raise BagError(f"none of the {report.num_images} images of {bag_path} gave a keyframe; {reasons}")
    logger.info("%s", report)
    return report


def capture_of(recording: Recording, config: MapConfig, store: KeyframeSink, *others: Recording) -> Capture:
    """A capture that knows all of a recording but its images.

    Args:
        others: the same bag as other cameras see it.

    Raises:
        BagError: if one camera has depth, labels or tf and another has not.
    """
    for other in others:
        _check_alike(recording, other)
    frames = {r.camera_name: r.camera_frame for r in (recording, *others) if r.camera_name}
    capture = Capture(
        config,
        store,
        transforms=recording.transforms,
        pose_source=recording.pose_source,
        use_depth=bool(recording.topics.depth),
        use_labels=bool(recording.topics.label),
        camera_frames=frames,
    )
    for one in (recording, *others):
        for record in (*one.infos, *one.poses):
            capture.add(record)
    return capture


def _check_alike(one: Recording, other: Recording) -> None:
    pair = f"the cameras '{one.camera_name}' and '{other.camera_name}'"
    if bool(one.topics.depth) != bool(other.topics.depth):
        raise BagError(f"of {pair} one alone has depth images; set ingest.use_depth=false")
    if one.pose_source != other.pose_source:
        raise BagError(f"tf leads to one alone of {pair}; record it for both, or set ingest.pose_source")


def _run(capture: Capture, recording: Recording, store: KeyframeSink, progress: CaptureProgress | None) -> None:
    total = recording.num_images
    for record in recording.images():
        capture.add(record)
        capture.poll()
        if progress is not None and isinstance(record, ColourRecord):
            progress("capture", capture.num_images, total, keyframes=len(store))
    capture.finish()
