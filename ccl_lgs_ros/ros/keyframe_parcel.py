# SPDX-License-Identifier: Apache-2.0
"""A line of a keyframe journal with its images as one string of bytes, and back. Nothing here knows ROS.

A line of JSON, then what it counts:

    {"frame": {...}, "bytes": [image, depth, labels]}    a keyframe as in transforms.json, and its files as on the disk
    {"corrected": [[camera, stamp_ns, [[...]]], ...]}    better poses that still hold
    {}                                                   nothing: later lines took over

No name of a file is taken from a parcel.
"""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import check_rigid
from ccl_lgs_ros.picture_header import stated_size
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.durable import disk_errors
from ccl_lgs_ros.storage.journal_index import CORRECTION
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.storage.keyframe_pixels import EncodedPixels, decoded_depth, decoded_image, decoded_labels
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore

MAX_STAMP_NS = 2**63
NOTHING = b"{}\n"
SOURCE = Path("a parcel")  # stands for the file in messages of what reads journals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """A keyframe with its files, or poses by camera and stamp, or neither."""

    keyframe: Keyframe | None
    pixels: EncodedPixels
    poses: dict[tuple[str, int], NDArray[np.float64]]  # [4, 4]


def packed(store: KeyframeStore, line: int) -> bytes:
    """What a line of a store's journal says now.

    Raises:
        MapError: if a file of it cannot be read.
    """
    id, entries = store.index.keyframe_of(line), store.entries
    if id == CORRECTION:
        moved = [entries[moved] for moved in store.index.moved_by(line)]
        poses = [[entry.camera_name, entry.stamp_ns, entry.world_from_camera.tolist()] for entry in moved]
        return _head({"corrected": poses}) if poses else NOTHING
    entry = entries[id]
    names = (entry.image_name, entry.depth_name, entry.label_name)
    files = [_content(own_file(store.path, name)) if name else b"" for name in names]
    return b"".join([_head({"frame": entry.frame(), "bytes": [len(file) for file in files]}), *files])


def unpacked(content: bytes) -> Parcel:
    """What a parcel holds, checked through and through: its images can be decoded and fit their camera.

    Raises:
        ValueError: if it does not say what a parcel may say.
    """
    head, _, body = content.partition(b"\n")
    try:
        fields = json.loads(head)
        if "frame" in fields:
            return _keyframe_parcel(fields["frame"], fields["bytes"], body)
        corrected = fields.get("corrected", [])
        poses = {(str(camera), int(stamp_ns)): np.array(pose, np.float64) for camera, stamp_ns, pose in corrected}
    except (AttributeError, KeyError, TypeError, OverflowError, RecursionError, MapError) as error:
        raise ValueError(f"expected a keyframe or corrected poses, got {error!r}") from error
    for pose in poses.values():
        check_rigid(pose)
    return Parcel(keyframe=None, pixels=EncodedPixels(b"", b"", b""), poses=poses)


def taken(store: KeyframeStore, parcel: Parcel) -> None:
    """Store what a parcel holds; doing so twice is harmless.

    Raises:
        MapError: if the store does not take it; what was stored before is intact.
    """
    if parcel.keyframe is not None:
        store.append(parcel.keyframe, parcel.pixels)
    elif parcel.poses:
        store.correct(parcel.poses)


def _keyframe_parcel(frame: dict, sizes: list[int], body: bytes) -> Parcel:
    ends = np.cumsum([0, *(int(size) for size in sizes)])
    if len(sizes) != 3 or min(sizes) < 0 or ends[-1] != len(body):
        raise ValueError(f"expected three files in {len(body)} bytes, got sizes of {sizes}")
    pixels = EncodedPixels(*(body[start:end] for start, end in pairwise(ends)))
    entry = KeyframeEntry.from_frame(frame, SOURCE)
    check_rigid(entry.world_from_camera)
    if not 0 <= entry.stamp_ns < MAX_STAMP_NS:
        raise ValueError(f"expected a stamp of 63 bits, got {entry.stamp_ns}")
    size = (entry.camera.width, entry.camera.height)
    if any(stated_size(file) != size for file in pixels if file):  # before gigabytes are made of a few bytes
        raise ValueError(f"expected pictures of {size[0]}x{size[1]}, got {[stated_size(file) for file in pixels]}")
    keyframe = entry.keyframe(
        decoded_image(pixels.image),
        decoded_depth(pixels.depth) if pixels.depth else None,
        decoded_labels(pixels.labels) if pixels.labels else None,
    )
    return Parcel(keyframe=keyframe, pixels=pixels, poses={})


def _head(fields: dict) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _content(path: Path) -> bytes:
    with disk_errors("read", path):
        return path.read_bytes()
