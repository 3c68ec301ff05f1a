# SPDX-License-Identifier: Apache-2.0
"""A room with a drive through it: every frame that the robot's camera records, with its exact ground truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.synthetic.colours import ALIKE, FAMILIES
from ccl_lgs_ros.synthetic.drive import BlockedError, Drive, orbit_drive, planned_drive
from ccl_lgs_ros.synthetic.layout import furnished_room
from ccl_lgs_ros.synthetic.light import radiance
from ccl_lgs_ros.synthetic.raycaster import cast
from ccl_lgs_ros.synthetic.room import Room, about_z
from ccl_lgs_ros.synthetic.sensor import exposure_at, measured_depth, photograph
from ccl_lgs_ros.synthetic.shapes import Floats

PATHS = {"drive": planned_drive, "orbit": orbit_drive}
FOCAL_SHARE = 0.85  # focal length over image width: 61 degrees across
MAX_ROOMS = 50  # rooms tried until the robot can see every object
LATERAL, VERTICAL, TURN = 0.2, 0.15, 0.2  # how far held-out viewpoints leave the path: metres, metres, radians
MIN_WALL_DISTANCE = 0.3  # metres between a held-out camera and the walls
ABSENT_PER_FAMILY = 3  # prompts for each colour family that the room lacks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoomFrame:
    """What the camera recorded at one moment, and what was really there."""

    seconds: float
    camera: Camera
    world_from_camera: Floats  # [4, 4]
    image: NDArray[np.uint8]  # [H, W, 3] RGB
    depth: NDArray[np.float32]  # [H, W] metres as measured, NaN unknown
    true_depth: NDArray[np.float32]  # [H, W] metres
    objects: NDArray[np.uint8]  # [H, W] object ids, 0 is the room and its furniture
    parts: NDArray[np.uint8]  # [H, W] part ids within each object, 0 is the room and its furniture
    shapes: NDArray[np.int32]  # [H, W] position in the room's list of shapes

    def keyframe(self, index: int) -> Keyframe:
        """What the camera recorded as the keyframe of that number."""
        return Keyframe(
            id=index,
            stamp_ns=index + 1,
            camera=self.camera,
            world_from_camera=self.world_from_camera,
            image=self.image,
            depth=self.depth,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A room, a camera and a drive."""

    seed: int
    room: Room
    camera: Camera
    drive: Drive

    def frame(self, seconds: float, world_from_camera: Floats | None = None) -> RoomFrame:
        """What the camera records at a moment of the drive, or from another pose at that moment."""
        pose = self.drive.world_from_camera(seconds) if world_from_camera is None else world_from_camera
        random = np.random.default_rng([self.seed, 7, *np.frombuffer(pose.tobytes(), np.uint32)[:8]])
        view = cast(self.room.shapes, self.camera, pose)
        gain = exposure_at(seconds, self.seed)
        object_of_shape = np.array([paint.object_id for paint in self.room.paints], dtype=np.uint8)
        part_of_shape = np.array([paint.part_id for paint in self.room.paints], dtype=np.uint8)
        return RoomFrame(
            seconds=seconds,
            camera=self.camera,
            world_from_camera=pose,
            image=photograph(radiance(self.room, view), gain, float(np.sin(seconds)), random),
            depth=measured_depth(view, self.camera, pose[:3, 3], random),
            true_depth=view.depth.astype(np.float32),
            objects=object_of_shape[view.shape],
            parts=part_of_shape[view.shape],
            shapes=view.shape,
        )

    def frames(self, count: int) -> Iterator[RoomFrame]:
        """`count` frames, evenly over the drive."""
        for seconds in self.moments(count):
            yield self.frame(seconds)

    def moments(self, count: int) -> Floats:
        """[count] seconds of the frames of a recording."""
        return np.linspace(0.0, self.drive.duration, count)

    def held_out_pose(self, seconds: float) -> Floats:
        """[4, 4] a camera beside the path that no frame of the recording was taken from."""
        random = np.random.default_rng([self.seed, 13, round(seconds * 1000)])
        pose = self.drive.world_from_camera(seconds)
        side = random.choice([-1.0, 1.0]) * random.uniform(0.5, 1.0)
        moved = pose[:3, 3] + LATERAL * side * pose[:3, 0] + [0.0, 0.0, random.uniform(-1, 1) * VERTICAL]
        half = self.room.size[:2] / 2 - MIN_WALL_DISTANCE
        moved[:2] = np.clip(moved[:2], -half, half)
        # Moving aside and turning back keeps what the robot was looking at in view.
        return rigid(about_z(side * TURN) @ pose[:3, :3], moved)

    def absent_prompts(self) -> tuple[str, ...]:
        """Things whose colour family the room lacks."""
        present = set(self.room.families)
        alike = {name for pair in ALIKE if pair & present for name in pair}
        lacking = [family for family in FAMILIES if family not in present | alike]
        random = np.random.default_rng([self.seed, 17])
        kinds = sorted({item.kind for item in self.room.objects})
        return tuple(
            f"{family} {kind}"
            for family in lacking
            for kind in random.choice(kinds, min(ABSENT_PER_FAMILY, len(kinds)), replace=False)
        )


def make_room_scene(
    seed: int,
    *,
    width: int = 320,
    height: int = 240,
    path: str = "drive",
    twins_touch: bool = False,
    two_tone: bool = False,
) -> Scene:
    """The scene of a seed: a furnished room in which the robot can see every object.

    Args:
        width, height: image size in pixels.
        path: "drive" past everything at robot height, or "orbit" once around the room.
        twins_touch: two objects of one kind and colour stand against each other.
        two_tone: things have a part in the colour of another thing: handles, lids, cushions, bands.

    Raises:
        ValueError: if there is no such path.
    """
    if path not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {path!r}")
    focal = FOCAL_SHARE * width
    camera = Camera(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2)
    for attempt in range(MAX_ROOMS):
        room = furnished_room(seed, attempt, twins_touch=twins_touch, two_tone=two_tone)
        try:
            return Scene(seed=seed, room=room, camera=camera, drive=PATHS[path](room, camera, seed))
        except BlockedError:
            continue
    raise BlockedError(f"seed {seed}: no room in {MAX_ROOMS} shows every object to the robot")
