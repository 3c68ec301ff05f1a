# SPDX-License-Identifier: Apache-2.0
"""Keyframes on disk in nerfstudio's layout: appended, acknowledged when durable; only poses change. No torch.

    keyframes.jsonl            the truth: a line is one nerfstudio frame, or better poses of frames that are there, as
                               a loop closure finds them; synced before an append or a correction returns
    transforms.json            the same for other tools; made anew whenever the keyframes have grown by a quarter, and
                               on closing
    images/000012.jpg          colour
    depth/000012.png           16 bits, millimetres, 0 unknown
    labels/000012.png          16 bits, 0 none; where a label topic was given

The cameras' axes in these files are OpenGL's; pixel centres are at (0.5, 0.5), as inside.
"""

import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import check_rigid
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.corrections import correction_frame, correction_of, is_correction
from ccl_lgs_ros.storage.durable import disk_errors, replace_file, sync_file, write_file
from ccl_lgs_ros.storage.journal import Journal
from ccl_lgs_ros.storage.journal_index import JournalIndex
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_pixels import EncodedPixels, read_depth, read_image, read_labels
from ccl_lgs_ros.storage.map_directory import MapDirectory

logger = logging.getLogger(__name__)

CACHED_KEYFRAMES = 16  # about 2 MB each at 640x480
CACHED_BYTES = 64 << 20  # of pixels; the last keyframe is kept whatever its size
MIN_TRANSFORMS_EVERY = 64  # appends after which transforms.json is made anew: so many, or
TRANSFORMS_GROWTH = 4  # one in so many, as each time costs what there is
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
        self._journal = Journal(own_file(self.path, "keyframes.jsonl"))
        self._lock = directory.lock("keyframes") if writable else None
        self._guard = threading.RLock()
        self._entries: list[KeyframeEntry] = []
        self._id_of: dict[tuple[str, int], int] = {}  # by camera and stamp
        self.revision = 0  # how often poses were corrected
        self.index = JournalIndex()
        self._num_bytes = 0
        self._cache: OrderedDict[int, Keyframe] = OrderedDict()
        self._cached_bytes = 0
        self._cameras: dict[Camera, Camera] = {}  # few, so that entries share them
        if writable:
            self._prepare()
        self.refresh()
        self._transforms_due = self._next_transforms()
        if writable:
            self._journal.repair()

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

    def append(self, keyframe: Keyframe, encoded: EncodedPixels | None = None) -> bool:
        """Store a keyframe, whose id becomes its place; when this returns True it survives a power cut.

        Args:
            keyframe: its pixels are encoded here, unless
            encoded: holds them as they are to be stored.

        Returns:
            False, and nothing is stored, if there is one of this camera and stamp already.

        Raises:
            MapError: if the store only reads, is over its budget, or the disk does not take it; what was
                stored before is intact.
        """
        self._require_lock()
        with self._guard:
            if (keyframe.camera_name, keyframe.stamp_ns) in self._id_of:
                return False
            encoded = encoded or EncodedPixels.of(keyframe, self._jpeg_quality)
            entry = KeyframeEntry.of(keyframe, len(self), encoded.num_bytes)
            self._check_budget(entry.num_bytes)
            names = (entry.image_name, entry.depth_name, entry.label_name)
            with disk_errors("store a keyframe in", self.path):
                self._write(entry.frame(), dict(zip(names, encoded, strict=True)))
            self._take(entry)
            if len(self) >= self._transforms_due:
                self._write_transforms()
            return True

    def correct(self, world_from_camera_of: Mapping[tuple[str, int], NDArray[np.float64]]) -> int:
        """Give keyframes better poses, all of them or none; when this returns they survive a power cut.

        Args:
            world_from_camera_of: [4, 4] by camera name and stamp in ns; what names no keyframe is passed over.

        Returns:
            How many keyframes have moved.

        Raises:
            ValueError: if a pose is not rigid.
            MapError: as `append`.
        """
        self._require_lock()
        with self._guard:
            moved = {}
            for key, pose in world_from_camera_of.items():
                check_rigid(pose)
                id = self._id_of.get(key)
                if id is not None and not np.array_equal(self._entries[id].world_from_camera, pose):
                    moved[id] = np.asarray(pose, np.float64)
            if not moved:
                return 0
            line = correction_frame(moved)
            with disk_errors("store corrected poses in", self.path):
                self._write(line, {})
            self._move(correction_of(line, self._journal.path))
            self._write_transforms()
            return len(moved)

    def refresh(self) -> int:
        """Take notice of what another process has appended or corrected; returns how many keyframes are new."""
        with self._guard:
            before = len(self)
            for line in self._journal.new_lines():
                if is_correction(line):
                    self._move(correction_of(line, self._journal.path))
                else:
                    self._take(KeyframeEntry.from_frame(line, self._journal.path))
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
            self._journal.path.touch()
            sync_file(self.path)
            sync_file(self.path.parent)

    def _take(self, entry: KeyframeEntry) -> None:
        if entry.id != len(self):
            raise MapError(
                f"{self._journal.path} has keyframe {entry.id} as number {len(self)}; restore it from a copy"
            )
        camera = self._cameras.setdefault(entry.camera, entry.camera)
        entry = replace(entry, camera=camera, camera_name=sys.intern(entry.camera_name))
        self._entries.append(entry)
        self._id_of[entry.camera_name, entry.stamp_ns] = entry.id
        self._num_bytes += entry.num_bytes
        self.index.add_keyframe()

    def _move(self, poses: Mapping[int, NDArray[np.float64]]) -> None:
        for id, pose in poses.items():
            if id >= len(self):
                raise MapError(f"{self._journal.path} moves keyframe {id}, which is not there; restore it from a copy")
            entry = self._entries[id]
            self._entries[id] = replace(entry, world_from_camera=pose, revision=entry.revision + 1)
            self._forget(id)
        self.revision += 1
        self.index.add_correction(poses)

    def _require_lock(self) -> None:
        if self._lock is None or not self._lock.is_held:
            raise MapError(f"the keyframes of {self.path.parent} were opened for reading; open them with writable=True")

    def _check_budget(self, more: int) -> None:
        if self._num_bytes + more > self._max_bytes:
            raise MapError(
                f"the keyframes of {self.path.parent} would take more than {self._max_bytes / BYTES_PER_GB:g} GB; "
                "raise keyframes.max_disk_gb"
            )

    def _write(self, line: dict, files: dict[str, bytes]) -> None:
        """Pixels first, then the line that makes them count; on failure all is as before."""
        paths = [(self.path / name, content) for name, content in files.items() if name]
        try:
            for path, content in paths:
                write_file(path, content)
                sync_file(path.parent)
        except OSError:
            for path, _ in paths:
                path.unlink(missing_ok=True)
            raise
        self._journal.append(line)  # where that fails the pixels stay: after a power cut the line may be there

    def _forget(self, id: int) -> None:
        if id in self._cache:
            self._cached_bytes -= self._cache.pop(id).num_bytes

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
        try:
            replace_file(self.path / "transforms.json", content.encode())
        except OSError as error:  # the journal is the truth
            logger.warning("%s lags behind: %s", self.path / "transforms.json", error.strerror)
        self._transforms_due = self._next_transforms()

    def _load(self, entry: KeyframeEntry) -> Keyframe:
        path = self.path
        image = read_image(own_file(path, entry.image_name))
        depth = read_depth(own_file(path, entry.depth_name)) if entry.depth_name else None
        labels = read_labels(own_file(path, entry.label_name)) if entry.label_name else None
        try:
            return entry.keyframe(image, depth, labels)
        except ValueError as error:
            raise MapError(f"{path / entry.image_name} does not fit its keyframe: {error}") from error
