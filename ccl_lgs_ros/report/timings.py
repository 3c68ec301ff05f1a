# SPDX-License-Identifier: Apache-2.0
"""What each stage of mapping took, in time and memory."""

from typing import Any

from ccl_lgs_ros.report.head import size_text
from ccl_lgs_ros.report.subject import Subject

WHAT = {
    "capture": "recording read, keyframes chosen and stored",
    "perceive": "masks found, and what they look like in words",
    "keyframes": "Gaussians seeded, segments joined to tracks",
    "corrections": "keyframes that moved, joined anew",
    "changes": "what is no longer there looked for",
    "carve": "Gaussians that cameras looked through removed",
    "fill": "Gaussians added where keyframes show more",
    "optimize": "Gaussians optimised to look like the photos",
    "score": "held-out keyframes scored",
    "associate": "segments of all keyframes joined to tracks anew",
    "track": "masks followed by the video model",
    "codebook": "codebook fitted",
    "register": "codes voted onto the Gaussians",
    "distill": "semantic field trained",
    "decode": "semantic field decoded at the keyframes",
}
OLDER = ("optimize_seconds", "associate_seconds", "codebook_seconds", "lift_seconds")


def section(subject: Subject) -> dict[str, Any]:
    """A row for each stage."""
    recorded = subject.info.get("stages")
    stages = recorded if isinstance(recorded, dict) else {}
    rows = [_row(name, stage) for name, stage in stages.items() if isinstance(stage, dict)]
    if not rows:
        known = [
            (name.removesuffix("_seconds"), seconds_text(float(subject.info[name])))
            for name in OLDER
            if isinstance(subject.info.get(name), (int, float))
        ]
        text = "This map was made by a version that did not record its stages; map the recording again to see them."
        return {"missing": text, "known": known}
    longest = max(row["seconds"] for row in rows) or 1.0
    highest = max(row["bytes"] for row in rows) or 1
    for row in rows:
        row["time_share"], row["memory_share"] = 100 * row["seconds"] / longest, 100 * row["bytes"] / highest
    return {
        "rows": rows,
        "total": seconds_text(sum(row["seconds"] for row in rows)),
        "peak": size_text(highest),
        "resumed_at": subject.info.get("resumed_at"),
    }


def seconds_text(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 60.0:
        return f"{seconds:.2f} s" if seconds < 1.0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _row(name: str, stage: dict[str, Any]) -> dict[str, Any]:
    seconds, count, size = (float(stage.get(key) or 0) for key in ("seconds", "count", "peak_bytes"))
    return {
        "name": name,
        "what": WHAT.get(name, ""),
        "seconds": seconds,
        "time": seconds_text(seconds),
        "count": int(count),
        "bytes": size,
        "memory": size_text(size),
    }
