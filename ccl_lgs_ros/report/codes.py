# SPDX-License-Identifier: Apache-2.0
"""What the map takes for one thing, in the colours of its ids, beside the photo."""

from typing import Any

import numpy as np

from ccl_lgs_ros.code_map import code_map
from ccl_lgs_ros.level_names import coarse_first
from ccl_lgs_ros.report.head import LEVEL_NAMES
from ccl_lgs_ros.report.pictures_inside import inside
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.report.things import LEAST_PIXELS

SHOWN = 3  # views, one of each part of the drive


def section(subject: Subject) -> dict[str, Any]:
    """Three keyframes that show many things, each as photo and as code map of every level."""
    if not subject.num_shown:
        return {"missing": "The map holds no keyframes, so there is no view to show codes from."}
    names = [name for name in coarse_first(subject.map.levels) if subject.map.levels[name].num_tracks]
    if not names:
        return {"missing": "No Gaussian of the map carries a code yet."}
    rows = []
    for place in _views(subject):
        view = subject.view(place)
        seen_from = subject.rasterizer, view.camera, view.world_from_camera
        maps = [(name, inside(code_map(subject.map, name, *seen_from))) for name in names]
        rows.append({"place": place, "photo": inside(view.image), "maps": maps})
    return {"rows": rows, "levels": [(name, LEVEL_NAMES.get(name, "")) for name in names]}


def _views(subject: Subject) -> list[int]:
    """Of each part of the drive the keyframe that shows most tracks."""
    seen = subject.seen
    if seen is None:
        return subject.spread(SHOWN).tolist()
    num_tracks = (seen.pixels >= LEAST_PIXELS).sum(axis=1)
    parts = np.array_split(np.arange(len(seen.places)), min(SHOWN, len(seen.places)))
    return [int(seen.places[part[num_tracks[part].argmax()]]) for part in parts]
