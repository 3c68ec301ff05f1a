# SPDX-License-Identifier: Apache-2.0
"""From a folder of posed images to stored keyframes: every image is one. No torch."""

import time
from pathlib import Path

from ccl_lgs_ros.capture import CaptureProgress, CaptureReport
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.keyframe_sink import KeyframeSink
from ccl_lgs_ros.recording import Topics
from ccl_lgs_ros.storage.datasets.scene_images import SceneImages


def open_scene(path: Path, config: MapConfig) -> SceneImages:
    """The posed images of a folder, at the size that the options allow.

    Raises:
        EvaluationError: if they cannot be read, naming the fix.
    """
    return SceneImages(path, max_image_size=config.ingest.max_image_size)


def capture_scene(scene: SceneImages, store: KeyframeSink, progress: CaptureProgress | None = None) -> CaptureReport:
    """Store every image as a keyframe, whatever the options say of motion; those that are stored are passed over.

    Raises:
        EvaluationError: if an image cannot be read.
    """
    began = time.monotonic()
    num_new = num_with_depth = 0
    for index in range(len(scene)):
        keyframe = scene[index]
        num_with_depth += keyframe.depth is not None
        num_new += store.append(keyframe)
        if progress is not None:
            progress("capture", index + 1, len(scene), keyframes=len(store))
    no_depth = len(scene) - num_with_depth
    return CaptureReport(
        path=scene.path,
        topics=Topics(image="", camera_info=""),
        num_images=len(scene),
        num_new=num_new,
        num_keyframes=len(store),
        counts={},
        first_drops={},
        notes=[f"{no_depth} of {len(scene)} images have no depth but what their neighbours tell"] if no_depth else [],
        seconds=time.monotonic() - began,
    )
