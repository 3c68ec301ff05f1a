# SPDX-License-Identifier: Apache-2.0
"""The images that gave no keyframe: how many, why, and what would change that."""

from collections import Counter
from typing import Any

from ccl_lgs_ros.ingest.drops import REASONS
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.storage.capture_log import captures

FIXES = {
    "format": "record a common encoding (rgb8, bgr8, mono8, compressed JPEG or PNG) and valid intrinsics and stamps",
    "tf": "record /tf and /tf_static of the whole drive; raise ingest.tf_timeout where transforms come late",
    "sync": "record camera_info and depth with each image; raise ingest.sync_slop, or set ingest.use_depth=false",
    "depth": "move so that more is within ingest.depth_min and depth_max; lower ingest.depth_min_valid_ratio",
    "queue": "raise ingest.pending_queue, or map the recording offline, where nothing is pushed out",
    "duplicate": "nothing: these images are in the map already",
    "jump": "look into the localisation; where the camera is really that fast, raise keyframes.max_speed",
    "motion": "nothing: these show what a keyframe shows; for more keyframes lower keyframes.min_translation",
    "blur": "drive slower or shorten the exposure; for more keyframes lower keyframes.min_sharpness",
    "limit": "raise keyframes.max_count or keyframes.max_disk_gb",
}


def section(subject: Subject) -> dict[str, Any]:
    """A row for each reason, over all captures that the map remembers."""
    known = captures(subject.directory)
    if not known:
        text = "It is not recorded what became of the images: the map was made by a version that did not keep it, "
        return {"missing": text + "or its keyframes came from elsewhere."}
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for capture in known:
        counts.update(capture["dropped"])
        first |= {reason: text for reason, text in capture["first"].items() if reason not in first}
    images, kept = (sum(capture[key] for capture in known) for key in ("images", "kept"))
    most = max([*counts.values(), kept, 1])
    rows = [
        {
            "reason": reason,
            "count": count,
            "share": 100 * count / most,
            "is_fault": REASONS.get(reason, True),
            "first": first.get(reason, ""),
            "fix": FIXES.get(reason, ""),
        }
        for reason, count in counts.most_common()
        if count
    ]
    return {
        "rows": rows,
        "images": images,
        "kept": kept,
        "kept_share": 100 * kept / most,
        "captures": known,
        "notes": list(dict.fromkeys(note for capture in known for note in capture["notes"])),
    }
