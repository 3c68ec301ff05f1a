# SPDX-License-Identifier: Apache-2.0
"""Segments of keyframes kept on disk, so that associating anew does not run perception again.

This is a cache: what is damaged or made with other options counts as absent, and the folder may be deleted.

    segments/<key>/identity.txt               what made them
    segments/<key>/000012.sp.png              the label map, 16 bits, 0 none, segment m as m + 1
    segments/<key>/000012.sp.safetensors      features and quality
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.picture_header import MAX_PIXELS, stated_size
from ccl_lgs_ros.storage.durable import TEMPORARY_PREFIX, disk_errors
from ccl_lgs_ros.structures import Segments

MAX_SEGMENTS = 65535  # in one label map
KEPT_IDENTITIES = 2  # options tried in turn keep their segments; more would fill the disk


class SegmentStore:
    """The segments of a map's keyframes, as one setting of perception made them.

    Args:
        path: the folder; made when something is saved.
        levels: that a keyframe has segments of.
        identity: names segmenter, encoder and all their options; segments of another identity are not found.
    """

    def __init__(self, path: Path | str, *, identity: str, levels: Sequence[str] = LEVELS) -> None:
        self._root, self._identity = Path(path), identity
        self._path = self._root / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._levels, self._is_ready = tuple(levels), False

    def load(self, keyframe_id: int) -> Mapping[str, Segments] | None:
        """The segments of a keyframe by level; None where they must be made first."""
        segments = {}
        for level in self._levels:
            found = _load(self._path / f"{keyframe_id:06d}.{level}")
            if found is None:
                return None
            segments[level] = found
        return segments

    def save(self, keyframe_id: int, segments: Mapping[str, Segments]) -> None:
        """Keep the segments of a keyframe by level.

        Raises:
            MapError: if the disk does not take them.
            ValueError: if a label map has more than MAX_SEGMENTS segments.
        """
        with disk_errors("store segments in", self._root):
            self._prepare()
            for level, of_level in segments.items():
                _save(self._path / f"{keyframe_id:06d}.{level}", of_level)

    def _prepare(self) -> None:
        if self._is_ready:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        (self._path / "identity.txt").write_text(self._identity)
        others = [entry for entry in self._root.iterdir() if entry.is_dir() and entry != self._path]
        others.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in others[KEPT_IDENTITIES - 1 :]:
            shutil.rmtree(entry, ignore_errors=True)
        self._is_ready = True


def _save(stem: Path, segments: Segments) -> None:
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"segments: expected at most {MAX_SEGMENTS}, got {len(segments)}")
    labels = (segments.labels.cpu().numpy() + 1).astype(np.uint16)
    is_done, image = cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_done
    tensors = {"features": segments.features, "quality": segments.quality}
    rows = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    for name, content in ((f"{stem.name}.png", image.tobytes()), (f"{stem.name}.safetensors", rows)):
        temporary = stem.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{name}")
        temporary.write_bytes(content)
        temporary.replace(stem.with_name(name))


def _load(stem: Path) -> Segments | None:
    try:
        image = stem.with_name(f"{stem.name}.png").read_bytes()
        rows = load(stem.with_name(f"{stem.name}.safetensors").read_bytes())
        width, height = stated_size(image) or (0, 0)
        if not 0 < width * height <= MAX_PIXELS:
            return None
        labels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.dtype != np.uint16 or labels.max(initial=0) > len(rows["quality"]):
            return None
        return Segments(
            labels=torch.from_numpy(labels.astype(np.int32) - 1), features=rows["features"], quality=rows["quality"]
        )
    except (OSError, SafetensorError, KeyError, ValueError, cv2.error):
        return None
