# SPDX-License-Identifier: Apache-2.0
"""Answers as people and programs read them: a table, JSON."""

from typing import Any

import numpy as np

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.geometry import quat_from_rotation


def answer_text(found: Answer) -> str:
    """A short table."""
    lines = [f'"{asked_text(found)}": {found.message}']
    if found.reading and found.reading.is_doubtful:
        lines.append(found.reading.sentence)
    is_doubted = any(item.uncertainty is not None for item in found.instances)
    if found.instances:
        heading = f"{'id':>5} {'score':>6}  {'centroid x y z (m)':<24} {'size (m)':<18} {'Gaussians':>9}"
        lines.append(heading + (f" {'uncertainty':>12}" if is_doubted else ""))
    for item in found.instances:
        centroid = " ".join(f"{x:7.3f}" for x in item.centroid)
        size = " x ".join(f"{x:.2f}" for x in item.box.size)
        doubt = "" if item.uncertainty is None else f" {item.uncertainty:>12.2f}"
        lines.append(f"{item.id:>5} {item.score:>6.2f}  {centroid:<24} {size:<18} {len(item.gaussian_ids):>9}{doubt}")
    return "\n".join(lines)


def asked_text(found: Answer) -> str:
    """What was asked, as it was written."""
    return found.reading.text if found.reading else found.prompt.text


def answer_json(found: Answer) -> dict[str, Any]:
    """The same for programs."""
    return {
        "success": True,
        "message": found.message,
        "prompt": asked_text(found),
        "understood": found.reading.sentence if found.reading else "",
        "is_plain": found.reading is None or found.reading.is_plain,
        "unknown_words": list(found.prompt.unknown_words),
        "best_score": round(float(found.best_score), 4),
        "threshold": found.threshold,
        "map_version": found.map_version,
        "instances": [_instance_json(item) for item in found.instances],
    }


def _instance_json(item: Instance) -> dict[str, Any]:
    quat = quat_from_rotation(item.box.rotation)
    return {
        "id": item.id,
        "score": round(float(item.score), 4),
        "centroid": _rounded(item.centroid),
        "box": {
            "center": _rounded(item.box.center),
            "size": _rounded(item.box.size),
            "quaternion_xyzw": _rounded(np.roll(quat, -1)),
        },
        "surface_point": None if item.surface_point is None else _rounded(item.surface_point),
        "surface_normal": None if item.surface_normal is None else _rounded(item.surface_normal),
        "keyframe_ids": list(item.keyframe_ids),
        "num_gaussians": len(item.gaussian_ids),
        "uncertainty": None if item.uncertainty is None else round(item.uncertainty, 4),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(x), 5) for x in values]
