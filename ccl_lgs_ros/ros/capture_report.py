# SPDX-License-Identifier: Apache-2.0
"""A capture's state and counts as the fields of a MapStatus."""

from typing import Any

from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.capture_thread import CaptureThread
from ccl_lgs_ros.storage.capture_log import CaptureRecord

DROPPED = ("tf", "sync", "depth", "queue")


def state_of(capture: CaptureThread) -> int:
    """One of MapStatus.STATE_*."""
    if capture.error:
        return MapStatus.STATE_ERROR
    if capture.is_paused:
        return MapStatus.STATE_PAUSED
    if capture.is_done:
        return MapStatus.STATE_READY
    has_images = capture.capture is not None and capture.capture.num_images
    return MapStatus.STATE_COLLECTING if has_images else MapStatus.STATE_WAITING_FOR_DATA


def report_of(capture: CaptureThread, waiting_for: str) -> dict[str, Any]:
    """What a capture does and what became of the images; `waiting_for` is said until it has begun."""
    images = capture.capture
    counts = images.counts if images else {}
    return {
        "state": state_of(capture),
        "stage": "" if capture.is_done else "keyframes",
        "message": capture.error or (images.status_text if images else waiting_for),
        "keyframes": len(capture.store),
        "pose_revision": capture.store.revision,
        "frames_received": images.num_images if images else 0,
        "frames_skipped_motion": counts.get("motion", 0) + counts.get("duplicate", 0),
        "frames_skipped_blur": counts.get("blur", 0),
        "frames_skipped_jump": counts.get("jump", 0),
        "frames_skipped_limit": counts.get("limit", 0),
        "frames_rejected_format": counts.get("format", 0),
        **{f"frames_dropped_{name}": counts.get(name, 0) for name in DROPPED},
    }


def record_of(capture: CaptureThread, source: str) -> CaptureRecord | None:
    """What a capture did so far, to be kept with the map; None before the first image."""
    images = capture.capture
    if images is None or not images.num_images:
        return None
    return CaptureRecord(
        source=source,
        images=images.num_images,
        kept=images.num_kept,
        dropped={reason: count for reason, count in images.counts.items() if count},
        first=dict(images.drops.first),
    )
