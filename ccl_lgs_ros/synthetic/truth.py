# SPDX-License-Identifier: Apache-2.0
"""What a frame really shows, of the objects and of the room around them: things, parts, and how well each is seen.

A thing is an object, a piece of furniture, something on a wall, the floor, the ceiling or a wall.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import RoomFrame
from ccl_lgs_ros.synthetic.shapes import Floats
from ccl_lgs_ros.synthetic.things import Part

SHELL_NAMES = ("floor", "ceiling", "wall", "wall", "wall", "wall")  # the faces of the room
DECORATION = {"leaf": "door", "pane": "window", "mat": "picture", "field": "rug"}  # by a part that only it has
PROBES = 96  # points of an object's surface that are looked for
SEEN_AT_MOST = 0.5  # share of a convex surface that faces a camera
TOLERANCE = 0.015  # metres between a point of a surface and the depth there
FLOOR_GAP = 0.01  # metres


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTruth:
    """The exact things and parts of one frame; T things in the room, most of them not in view."""

    things: NDArray[np.int32]  # [H, W] 0 to T - 1
    parts: NDArray[np.int32]  # [H, W] ids that no two things share
    names: tuple[str, ...]  # [T]
    num_objects: int  # the first things are the room's objects, in their order
    seen: Floats  # [T] share of what could be seen of a thing from here that is in the image and not hidden
    viewpoint: Floats  # [T, 4] direction from the camera to the thing (unit, world) and the log of its distance
    part_names: tuple[str, ...] = ()  # of the ids in `parts`; '' for what is no part of an object of several


class RoomTruth:
    """The things of a room, numbered once."""

    def __init__(self, room: Room) -> None:
        self.room = room
        pieces = [piece.name for piece, _ in room.furniture]
        hung = [_decoration_name(parts) for parts, _ in room.decoration]
        self.names = (*(item.kind for item in room.objects), *pieces, *hung, *SHELL_NAMES)
        counts = [len(piece.parts) for piece, _ in room.furniture] + [len(parts) for parts, _ in room.decoration]
        owner = np.repeat(np.arange(len(counts)) + len(room.objects), counts)
        objects = np.repeat(np.arange(len(room.objects)), [len(item.parts) for item in room.objects])
        self._thing_of_shape = np.concatenate([[-1], owner, objects]).astype(np.int32)
        self._part_names = _part_names(room)
        self._shell = len(self.names) - len(SHELL_NAMES)
        self._middles = self._thing_middles()

    def of(self, frame: RoomFrame) -> FrameTruth:
        """The truth of one frame of the room."""
        camera_points = frame.camera.unproject(frame.true_depth)
        points = transform_points(frame.world_from_camera, camera_points.reshape(-1, 3)).reshape(camera_points.shape)
        face = self._face(points)
        is_shell = frame.shapes <= 0
        eye = frame.world_from_camera[:3, 3]
        away = self._middles - eye
        distance = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
        return FrameTruth(
            things=np.where(is_shell, self._shell + face, self._thing_of_shape[frame.shapes]).astype(np.int32),
            parts=np.where(is_shell, len(self.room.shapes) + face, frame.shapes).astype(np.int32),
            names=self.names,
            num_objects=len(self.room.objects),
            seen=self._seen(frame),
            viewpoint=np.column_stack([away / distance[:, None], np.log(distance)]),
            part_names=self._part_names,
        )

    def _thing_middles(self) -> Floats:
        """[T, 3] a middle of each thing; of the room's faces their centres."""
        x, y, z = self.room.size / 2
        shell = [[0, 0, 0], [0, 0, 2 * z], [x, 0, z], [-x, 0, z], [0, y, z], [0, -y, z]]
        of_shape = np.array([shape.center for shape in self.room.shapes])
        middles = [of_shape[self._thing_of_shape == thing].mean(0) for thing in range(self._shell)]
        return np.array([*middles, *shell])

    def _face(self, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """Which face of the room [H, W] points [H, W, 3] would lie on."""
        half = self.room.size / 2
        away = np.concatenate([half[:2] - points[..., :2], half[:2] + points[..., :2]], axis=-1)
        wall = np.array([2, 4, 3, 5])[away.argmin(-1)]
        low, high = points[..., 2] < FLOOR_GAP, points[..., 2] > self.room.size[2] - FLOOR_GAP
        return np.where(low, 0, np.where(high, 1, wall)).astype(np.int32)

    def _seen(self, frame: RoomFrame) -> Floats:
        """[T] the share of each object that shows; 1 for the room and its furniture."""
        seen = np.ones(len(self.names))
        for index, item in enumerate(self.room.objects):
            points = transform_points(invert_rigid(frame.world_from_camera), item.surface[:PROBES])
            pixel = np.floor(np.nan_to_num(frame.camera.project(points), nan=-1.0)).astype(int)
            inside = (pixel >= 0).all(1) & (pixel < [frame.camera.width, frame.camera.height]).all(1)
            depth = frame.true_depth[tuple(pixel[inside].T[::-1])]
            shows = (np.abs(depth - points[inside, 2]) < TOLERANCE + 2 * points[inside, 2] / frame.camera.fx).sum()
            seen[index] = min(1.0, shows / (SEEN_AT_MOST * len(points)))
        return seen


def _part_names(room: Room) -> tuple[str, ...]:
    """Of every shape of the room, then of its faces."""
    of_objects = [part.name if len(item.parts) > 1 else "" for item in room.objects for part in item.parts]
    before = [""] * (len(room.shapes) - len(of_objects))
    return (*before, *of_objects, *[""] * len(SHELL_NAMES))


def _decoration_name(parts: list[Part]) -> str:
    return next(name for part, name in DECORATION.items() if any(other.name == part for other in parts))
