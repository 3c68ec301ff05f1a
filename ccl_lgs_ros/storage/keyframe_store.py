# SPDX-License-Identifier: Apache-2.0
"""Keyframes on disk in nerfstudio's layout: appended, acknowledged when durable, never changed. No torch.

    keyframes.jsonl            the truth: one nerfstudio frame a line, synced before an append returns
    transforms.json            the same for other tools; made anew whenever the keyframes have grown by a quarter, and
                               on closing
    images/000012.jpg          colour
    depth/000012.png           16 bits, millimetres, 0 unknown
    labels/000012.png          16 bits, 0 none; where a label topic was given

The cameras' axes in these files are OpenGL's; pixel centres are at (0.5, 0.5), as inside.
"""

import json
import logging
import os
import sys
import threading
from collections import OrderedDict
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.durable import disk_errors, replace_file, sync_file, write_file
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.map_directory import MapDirectory

logger = logging.getLogger(__name__)

CACHED_KEYFRAMES = 16  # about 2 MB each at 640x480
CACHED_BYTES = 64 << 20  # of pixels; the last keyframe is kept whatever its size
MIN_TRANSFORMS_EVERY = 64  # appends after which transforms.json is made anew: so many, or
TRANSFORMS_GROWTH = 4  # one in so many, as each time costs what there is
MILLIMETRES = 1000.0  # per metre
MAX_STORED_MM = 65534  # 65535 means unknown to some cameras, so it is never written
BYTES_PER_GB = 1e9


class KeyframeStore:
    """The keyframes of a map: a KeyframeSource that can be appended to.

    Args:
        directory: the map.
        writable: take the map's "keyframes" lock and allow appending; without it the store only reads.
        jpeg_quality: of the colour images, 1 to 100.
        max_disk_gb: gigabytes that images, depth and labels may take.

    Raises:
        MapError: if another process appends, or the store is damaged or cannot be written.
    """

    def __init__(
        self, directory: MapDirectory, *, writable: bool = False, jpeg_quality: int = 95, max_disk_gb: float = 20.0
    ) -> None:
        self.path = directory.keyframes_path
        self._jpeg_quality, self._max_bytes = jpeg_quality, max_disk_gb * BYTES_PER_GB
        self._journal = self.path / "keyframes.jsonl"
        self._lock = directory.lock("keyframes") if writable else None
        self._guard = threading.RLock()
        self._entries: list[KeyframeEntry] = []
        self._known: set[tuple[str, int]] = set()
        self._num_bytes = 0
        self._journal_end = 0  # bytes of the journal that hold whole lines
        self._cache: OrderedDict[int, Keyframe] = OrderedDict()
        self._cached_bytes = 0
        self._cameras: dict[Camera, Camera] = {}  # few, so that entries share them
        if writable:
            self._prepare()
        self.refresh()
        self._transforms_due = self._next_transforms()
        if writable:
            self._repair()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int, /) -> Keyframe:
        with self._guard:
            entry = self._entries[index]
            if entry.id not in self._cache:
                self._keep(entry.id, self._load(entry))
            self._cache.move_to_end(entry.id)
            return self._cache[entry.id]

    def __enter__(self) -> "KeyframeStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def entries(self) -> tuple[KeyframeEntry, ...]:
        """All that is known of the keyframes without their pixels."""
        return tuple(self._entries)

    @property
    def num_bytes(self) -> int:
        """What images, depth and labels take on the disk."""
        return self._num_bytes

    def append(self, keyframe: Keyframe) -> bool:
        """Store a keyframe, whose id becomes its place; when this returns True it survives a power cut.

        Returns:
            False, and nothing is stored, if there is one of this camera and stamp already.

        Raises:
            MapError: if the store only reads, is over its budget, or the disk does not take it; what was
                stored before is intact.
        """
        if self._lock is None or not self._lock.is_held:
            raise MapError(f"the keyframes of {self.path.parent} were opened for reading; open them with writable=True")
        with self._guard:
            if (keyframe.camera_name, keyframe.stamp_ns) in self._known:
                return False
            image, depth = _encoded_image(keyframe.image, self._jpeg_quality), _encoded_depth(keyframe.depth)
            labels = _encoded_labels(keyframe.labels)
            entry = KeyframeEntry.of(keyframe, len(self), len(image) + len(depth) + len(labels))
            self._check_budget(entry.num_bytes)
            with disk_errors("store a keyframe in", self.path):
                self._write(entry, {entry.image_name: image, entry.depth_name: depth, entry.label_name: labels})
            self._take(entry)
            if len(self) >= self._transforms_due:
                self._write_transforms()
            return True

    def refresh(self) -> int:
        """Take notice of what another process has appended; returns how many keyframes are new."""
        with self._guard:
            before = len(self)
            for line in self._new_lines():
                self._take(KeyframeEntry.from_frame(line, self._journal))
            return len(self) - before

    def close(self) -> None:
        """Bring transforms.json up to date and let another writer in."""
        with self._guard:
            if self._lock is not None and self._lock.is_held:
                try:
                    self._write_transforms()
                finally:
                    self._lock.release()

    def _prepare(self) -> None:
        with disk_errors("write to", self.path):
            for folder in (self.path / "images", self.path / "depth", self.path / "labels"):
                folder.mkdir(parents=True, exist_ok=True)
            self._journal.touch()
            sync_file(self.path)
            sync_file(self.path.parent)

    def _repair(self) -> None:
        """Cut off the line that a crash left unfinished: its keyframe was never acknowledged."""
        with disk_errors("repair", self._journal):
            surplus = self._journal.stat().st_size - self._journal_end
            if surplus:
                logger.warning(
                    "%s ends in %s bytes of an unfinished keyframe; they are removed", self._journal, surplus
                )
                os.truncate(self._journal, self._journal_end)
                sync_file(self._journal)

    def _new_lines(self) -> list[dict]:
        """The whole lines after the known ones; the last one may be unreadable, as a power cut leaves it."""
        try:
            with self._journal.open("rb") as file:
                file.seek(self._journal_end)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MapError(f"cannot read {self._journal}: {error.strerror}; check who may read it") from error
        frames = []
        for number, line in enumerate(lines):
            try:
                frames.append(json.loads(line))
            except ValueError:
                if number + 1 < len(lines):
                    where = f"line {len(self) + number + 1} of {self._journal}"
                    raise MapError(f"{where} is damaged; restore it from a copy, or capture the map again") from None
                break
            self._journal_end += len(line) + 1
        return frames

    def _take(self, entry: KeyframeEntry) -> None:
        camera = self._cameras.setdefault(entry.camera, entry.camera)
        entry = replace(entry, camera=camera, camera_name=sys.intern(entry.camera_name))
        self._entries.append(entry)
        self._known.add((entry.camera_name, entry.stamp_ns))
        self._num_bytes += entry.num_bytes

    def _check_budget(self, more: int) -> None:
        if self._num_bytes + more > self._max_bytes:
            raise MapError(
                f"the keyframes of {self.path.parent} would take more than {self._max_bytes / BYTES_PER_GB:g} GB; "
                "raise keyframes.max_disk_gb"
            )

    def _write(self, entry: KeyframeEntry, files: dict[str, bytes]) -> None:
        """Pixels first, then the line that makes them count; on failure all is as before."""
        line = (json.dumps(entry.frame()) + "\n").encode()
        paths = [(self.path / name, content) for name, content in files.items() if name]
        try:
            for path, content in paths:
                write_file(path, content)
                sync_file(path.parent)
            with self._journal.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            os.truncate(self._journal, self._journal_end)
            for path, _ in paths:
                path.unlink(missing_ok=True)
            raise
        self._journal_end += len(line)

    def _keep(self, id: int, keyframe: Keyframe) -> None:
        self._cache[id] = keyframe
        self._cached_bytes += keyframe.num_bytes
        while len(self._cache) > CACHED_KEYFRAMES or (len(self._cache) > 1 and self._cached_bytes > CACHED_BYTES):
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= oldest.num_bytes

    def _next_transforms(self) -> int:
        """How many keyframes there will be when transforms.json is made anew."""
        return len(self) + max(MIN_TRANSFORMS_EVERY, len(self) // TRANSFORMS_GROWTH)

    def _write_transforms(self) -> None:
        frames = ",\n".join(json.dumps(entry.frame()) for entry in self._entries)
        content = f'{{"camera_model": "PINHOLE", "frames": [\n{frames}\n]}}\n'
        with disk_errors("write", self.path / "transforms.json"):
            replace_file(self.path / "transforms.json", content.encode())
        self._transforms_due = self._next_transforms()

    def _load(self, entry: KeyframeEntry) -> Keyframe:
        image = cv2.cvtColor(self._pixels(entry.image_name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        depth = None
        if entry.depth_name:
            stored = self._pixels(entry.depth_name, cv2.IMREAD_UNCHANGED)
            depth = np.where(stored == 0, np.float32(np.nan), stored.astype(np.float32) / np.float32(MILLIMETRES))
        labels = self._pixels(entry.label_name, cv2.IMREAD_UNCHANGED).astype(np.int32) if entry.label_name else None
        try:
            return entry.keyframe(np.ascontiguousarray(image, np.uint8), depth, labels)
        except ValueError as error:
            raise MapError(f"{self.path / entry.image_name} does not fit its keyframe: {error}") from error

    def _pixels(self, name: str, mode: int) -> NDArray:
        with disk_errors("read", self.path / name):
            content = np.fromfile(self.path / name, np.uint8)
        pixels = cv2.imdecode(content, mode) if len(content) else None
        if pixels is None:
            raise MapError(f"{self.path / name} is damaged; restore it from a copy, or capture the map again")
        return pixels


def _encoded_image(image: NDArray[np.uint8], quality: int) -> bytes:
    return _encoded(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded_depth(depth: NDArray[np.float32] | None) -> bytes:
    if depth is None:
        return b""
    millimetres = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * MILLIMETRES)
    known = (millimetres > 0) & (millimetres <= MAX_STORED_MM)
    return _encoded(".png", np.where(known, millimetres, 0).astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _encoded_labels(labels: NDArray[np.int32] | None) -> bytes:
    if labels is None:
        return b""
    if labels.size and not 0 <= labels.min() <= labels.max() <= np.iinfo(np.uint16).max:
        raise MapError(f"labels: expected 0 to 65535, got {labels.min()} to {labels.max()}")
    return _encoded(".png", labels.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _encoded(kind: str, pixels: NDArray, parameters: list[int]) -> bytes:
    is_done, content = cv2.imencode(kind, pixels, parameters)
    assert is_done
    return content.tobytes()
