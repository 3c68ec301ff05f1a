# SPDX-License-Identifier: Apache-2.0
"""Offline mapping: a recording in, a map directory out, in one call."""

import shutil
from pathlib import Path

from ccl_lgs_ros.capture import CaptureReport, capture_bag
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import BagError, CclLgsError
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.recording import IMAGE
from ccl_lgs_ros.scene_capture import capture_scene, open_scene
from ccl_lgs_ros.storage.bag import Bag
from ccl_lgs_ros.storage.capture_log import CaptureLog
from ccl_lgs_ros.storage.datasets.scene_images import is_scene
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap


def map_recording(
    recording: Path,
    output: Path,
    config: MapConfig,
    progress: Progress = no_progress,
    **topics: str,
) -> tuple[CaptureReport, SemanticMap]:
    """Capture the keyframes of a recording into a map directory and build the map of all that it then holds.

    Args:
        recording: a rosbag2 folder or file, a folder that holds one as `bag`, or a folder of posed images (COLMAP's
            sparse/0 or nerfstudio's transforms.json).
        output: a new or empty folder, or a map to extend.
        topics: image_topic, depth_topic, camera_info_topic, pose_topic, found by type where not given; label_topic.

    Raises:
        BagError: if the recording cannot be mapped; nothing is left behind then.
        EvaluationError: if posed images cannot be read; likewise.
        MapError: if the output is something else, or another process writes it.
    """
    recording = recording / "bag" if (recording / "bag").is_dir() else recording
    scene = open_scene(recording, config) if is_scene(recording) else None
    if scene is None:
        with Bag(recording) as bag:  # what cannot be read must not leave a map behind
            _check_labels(bag, config, topics.get("label_topic", ""))
    is_new = not output.exists() or not any(output.iterdir())
    directory = MapDirectory.open_or_create(output)
    try:
        with directory.locked("snapshots"):
            session = MapSession(config, directory, progress)  # first, so that a wrong part costs no capture
            store = KeyframeStore(
                directory,
                writable=True,
                jpeg_quality=config.keyframes.jpeg_quality,
                max_disk_gb=config.keyframes.max_disk_gb,
            )
            num_known = len(store)
            if scene is not None:
                report = capture_scene(scene, store, session.progress)
            else:
                report = capture_bag(recording, store, config, session.progress, **topics)
            CaptureLog(directory).put(report.record)
            store.close()
            if num_known and len(store) > num_known:
                session.resume(store)
            return report, session.build(store)
    except CclLgsError:
        if is_new and not _holds_keyframes(directory):
            shutil.rmtree(output, ignore_errors=True)
        raise


def _check_labels(bag: Bag, config: MapConfig, label_topic: str) -> None:
    if config.perception.segmenter == "topic" and not label_topic:
        images = ", ".join(topic.name for topic in bag.topics.values() if topic.type == IMAGE) or "no images"
        raise BagError(f"perception.segmenter=topic takes label images; add --label-topic; {bag.path} has {images}")


def _holds_keyframes(directory: MapDirectory) -> bool:
    journal = directory.keyframes_path / "keyframes.jsonl"
    return journal.exists() and journal.stat().st_size > 0
