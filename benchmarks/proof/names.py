# SPDX-License-Identifier: Apache-2.0
"""The real text vectors of CLIP ViT-B/32 for distinct names, from the tables beside the recordings of the tests."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.perception.text_tables import read_names, read_vectors

TABLES = (
    ("lvis_v1_clip_a+cname.npy", "lvis1203_names.json"),
    ("oid_clip_a+cname.npy", "oid500_names.json"),
    ("o365_clip_a+cnamefix.npy", "Objects365_names_fix.csv"),
    ("coco_clip_a+cname.npy", "coco80_labels.txt"),
)


def read_text_vectors(models: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names in lower case, each once, and their unit vectors [n, 512]."""
    rows: dict[str, NDArray[np.float32]] = {}
    for vectors, names in TABLES:
        known = [name for name in read_names(models / names) if name]
        for name, vector in zip(known, read_vectors(models / vectors, len(known)), strict=True):
            rows.setdefault(name.lower().replace("_", " "), vector)
    unit = np.array(list(rows.values()), dtype=np.float64)
    return list(rows), unit / np.linalg.norm(unit, axis=1, keepdims=True)
