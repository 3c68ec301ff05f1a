# SPDX-License-Identifier: Apache-2.0
"""A small drive as records and as messages: a textured wall seen by a camera that moves sideways."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.ingest.records import (
    CameraInfoRecord,
    ColourRecord,
    DepthRecord,
    PoseRecord,
    Record,
    TransformRecord,
)

MS = 1_000_000
S = 1000 * MS
START = 1000 * S
SIZE = (32, 24)
K = (30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0)
# The optical frame of a camera that looks along the map's x with z up.
OPTICAL = (0.5, -0.5, 0.5, -0.5)  # wxyz


class ListStore:
    """Keyframes in memory, with the rules of the store on disk."""

    def __init__(self, keyframes: Sequence[Keyframe] = ()) -> None:
        self.entries = list(keyframes)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Keyframe:
        return self.entries[index]

    def append(self, keyframe: Keyframe) -> bool:
        if any((k.stamp_ns, k.camera_name) == (keyframe.stamp_ns, keyframe.camera_name) for k in self.entries):
            return False
        assert keyframe.id == len(self)
        self.entries.append(keyframe)
        return True

    def correct(self, world_from_camera_of: Mapping[tuple[str, int], np.ndarray]) -> int:
        poses = [world_from_camera_of.get((k.camera_name, k.stamp_ns)) for k in self.entries]
        pairs = zip(self.entries, poses, strict=True)
        self.entries = [k if pose is None else replace(k, world_from_camera=pose) for k, pose in pairs]
        return sum(pose is not None for pose in poses)


def texture(seed: int, amplitude: int = 60) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(128 - amplitude, 128 + amplitude, (SIZE[1], SIZE[0], 3)).astype(np.uint8)


def colour(
    stamp_ns: int, *, frame_id: str = "camera", seed: int = 0, amplitude: int = 60, name: str = ""
) -> ColourRecord:
    pixels = texture(seed, amplitude)
    return ColourRecord(
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        encoding="rgb8",
        width=SIZE[0],
        height=SIZE[1],
        step=3 * SIZE[0],
        data=pixels.tobytes(),
        camera_name=name,
    )


def depth(stamp_ns: int, *, frame_id: str = "camera", units: int = 2000, name: str = "") -> DepthRecord:
    pixels = np.full(SIZE[::-1], units, np.uint16)
    return DepthRecord(
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        encoding="16UC1",
        width=SIZE[0],
        height=SIZE[1],
        step=2 * SIZE[0],
        data=pixels.tobytes(),
        camera_name=name,
    )


def info(stamp_ns: int = START, *, is_depth: bool = False, name: str = "", **changes: object) -> CameraInfoRecord:
    fields = {"frame_id": "camera", "width": SIZE[0], "height": SIZE[1], "k": K, **changes}
    return CameraInfoRecord(stamp_ns=stamp_ns, is_depth=is_depth, camera_name=name, **fields)  # type: ignore[arg-type]


def transform(
    stamp_ns: int, x: float = 0.0, *, parent: str = "map", child: str = "camera", is_static: bool = False
) -> TransformRecord:
    return TransformRecord(
        stamp_ns=stamp_ns, parent=parent, child=child, translation=(x, 0.0, 0.0), quat=OPTICAL, is_static=is_static
    )


def pose(stamp_ns: int, x: float = 0.0, *, frame_id: str = "map", child: str = "") -> PoseRecord:
    return PoseRecord(stamp_ns=stamp_ns, frame_id=frame_id, translation=(x, 0.0, 0.0), quat=OPTICAL, child=child)


def path(seconds: float) -> float:
    """Where the camera is along the wall: it comes and goes, at up to 1.8 m/s."""
    return 2.4 * math.sin(0.75 * seconds)


def drive(count: int = 40, *, tf_hz: float = 50.0) -> dict[str, list[Record]]:
    """Topics of a drive at 15 Hz: depth lags colour by up to 15 ms, tf runs at its own pace, some images are plain."""
    generator = np.random.default_rng(7)
    stamps = [START + i * S // 15 for i in range(count)]
    seconds = count / 15
    return {
        "colour": [colour(t, seed=i, amplitude=8 if i % 9 == 5 else 60) for i, t in enumerate(stamps)],
        "depth": [depth(t + int(generator.integers(0, 15)) * MS) for i, t in enumerate(stamps) if i % 11 != 3],
        "info": [info(t) for t in stamps],
        "depth_info": [info(t, is_depth=True) for t in stamps],
        "tf": [
            transform(START - S // 10 + int(i / tf_hz * S), path(i / tf_hz - 0.1))
            for i in range(int((seconds + 0.3) * tf_hz))
        ],
    }


def in_order(topics: dict[str, list[Record]], delay_ns: dict[str, int] | None = None) -> list[Record]:
    """All records by stamp, each topic delayed as given."""
    delays = delay_ns or {}
    tagged = [(r.stamp_ns + delays.get(topic, 0), topic, i) for topic, rs in topics.items() for i, r in enumerate(rs)]
    return [topics[topic][i] for _, topic, i in sorted(tagged)]
