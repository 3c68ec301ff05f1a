# SPDX-License-Identifier: Apache-2.0
"""Makes a synthetic room on disk: a recording as a robot would make it, and an evaluation set with exact truth.

DIR/bag    rosbag2: /tf, /tf_static, colour and depth images with their camera infos, a label image topic
DIR/eval   labelled views at stamps of the recording and from beside its path, absent prompts, 3D truth
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Box
from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.geometry import invert_rigid, rigid
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.storage.bag_writer import BagWriter
from ccl_lgs_ros.storage.evaluation_set import LabelledView, ObjectTruth
from ccl_lgs_ros.storage.evaluation_writer import ViewToWrite, write_evaluation_set
from ccl_lgs_ros.storage.labelled_points import LabelledPoints
from ccl_lgs_ros.synthetic.drive import LINK_FROM_OPTICAL
from ccl_lgs_ros.synthetic.room import Room, about_z
from ccl_lgs_ros.synthetic.scene import RoomFrame, Scene, make_room_scene
from ccl_lgs_ros.synthetic.surfaces import TrueSurface

OPTICAL_FRAME = "camera_color_optical_frame"
COLOUR, DEPTH = "/camera/color", "/camera/depth"
LABELS = "/ground_truth/segm"
START_NS = 1_700_000_000_000_000_000
TF_PERIOD_NS = 20_000_000  # 50 Hz
LABEL_EVERY = 5  # every how many-th frame of the recording is a labelled view
FIRST_LABEL = 3  # the recording's first frames are not among them
HELD_OUT_EVERY = 8  # for every how many frames there is one labelled view from beside the path
MIN_SHARE = 0.0012  # share of the image under which a category is too small to be labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneReport:
    """What was made."""

    directory: Path
    num_frames: int
    seconds: float  # length of the recording
    num_views: int  # labelled
    prompts: tuple[str, ...]
    absent: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.directory / 'bag'}: {self.num_frames} frames, {self.seconds:.0f} s\n"
            f"{self.directory / 'eval'}: {self.num_views} labelled views\n"
            f"in the room: {', '.join(self.prompts)}\n"
            f"not in it: {', '.join(self.absent)}"
        )


def make_scene(
    seed: int,
    directory: Path | str,
    *,
    num_frames: int = 80,
    width: int = 320,
    height: int = 240,
    path: str = "drive",
    twins_touch: bool = False,
    two_tone: bool = False,
    image_transport: str = "raw",
    storage: str = "mcap",
    progress: Progress = no_progress,
) -> SceneReport:
    """Render the room of a seed into `directory/bag` and `directory/eval`; the same seed gives the same room.

    Args:
        path: "drive" past every object at robot height, or "orbit" once around the room.
        twins_touch: two objects of one kind and colour stand against each other.
        two_tone: things have a part in the colour of another thing: handles, lids, cushions, bands.
        image_transport: "raw", or "compressed" for JPEG.
        storage: "mcap" or "sqlite3".

    Raises:
        CclLgsError: if one of the two folders exists already.
    """
    root = Path(directory)
    for part in (root / "bag", root / "eval"):
        if part.exists():
            raise CclLgsError(f"{part} exists already; remove it or make the scene elsewhere")
    scene = make_room_scene(seed, width=width, height=height, path=path, twins_touch=twins_touch, two_tone=two_tone)
    root.mkdir(parents=True, exist_ok=True)
    with BagWriter(root / "bag", storage=storage) as bag:
        views, surface = _record(bag, scene, num_frames, image_transport, progress)
    absent = scene.absent_prompts()
    write_evaluation_set(root / "eval", views, absent, truths(scene.room), surface)
    return SceneReport(
        directory=root,
        num_frames=num_frames,
        seconds=scene.drive.duration,
        num_views=len(views),
        prompts=scene.room.categories,
        absent=absent,
    )


def _record(
    bag: BagWriter, scene: Scene, num_frames: int, image_transport: str, progress: Progress
) -> tuple[list[ViewToWrite], LabelledPoints]:
    """Write the recording; returns the labelled views of it and of places beside its path, and the true surfaces."""
    moments, views = scene.moments(num_frames), []
    surface = TrueSurface(scene.room)
    held_out = moments[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    total = num_frames + len(held_out)
    _write_transforms(bag, scene)
    for index, seconds in enumerate(moments):
        frame = scene.frame(seconds)
        _write_frame(bag, frame, image_transport)
        if index % LABEL_EVERY == FIRST_LABEL:
            views.append(_labelled(f"frame_{index:04d}", frame, scene.room, stamp_of(seconds)))
            surface.add(frame)
        progress("render", index + 1, total)
    for index, seconds in enumerate(held_out):
        frame = scene.frame(seconds, scene.held_out_pose(seconds))
        views.append(_labelled(f"held_out_{index:04d}", frame, scene.room, None))
        surface.add(frame)
        progress("render", num_frames + index + 1, total)
    return views, LabelledPoints(points=surface.points, objects=surface.objects)


def stamp_of(seconds: float) -> int:
    """Nanoseconds of a moment of the drive in the recording."""
    return START_NS + round(seconds * 1e9)


def truths(room: Room) -> list[ObjectTruth]:
    """The 3D truth of every object."""
    found = []
    for item in room.objects:
        center, rotation, size = item.box
        box = Box(center=center, rotation=rotation, size=size)
        found.append(ObjectTruth(id=item.id, category=item.category, kind=item.kind, centroid=item.centroid, box=box))
    return found


def _labelled(stem: str, frame: RoomFrame, room: Room, stamp_ns: int | None) -> ViewToWrite:
    masks: dict[str, NDArray[np.bool_]] = {}
    for category in room.categories:
        mask = np.isin(frame.objects, [item.id for item in room.objects if item.category == category])
        if mask.mean() > MIN_SHARE:
            masks[category] = mask
    view = LabelledView(
        stem=stem,
        camera=frame.camera,
        world_from_camera=frame.world_from_camera,
        masks=masks,
        boxes={},
        depth=frame.true_depth,
    )
    return ViewToWrite(view=view, image=frame.image, stamp_ns=stamp_ns)


def _write_transforms(bag: BagWriter, scene: Scene) -> None:
    mount = scene.drive.mount
    static = [
        ("base_link", "camera_link", mount.base_from_camera_link),
        ("camera_link", "camera_color_frame", np.eye(4)),
        ("camera_color_frame", OPTICAL_FRAME, LINK_FROM_OPTICAL),
    ]
    bag.transforms(START_NS - TF_PERIOD_NS, static, is_static=True)
    end = stamp_of(scene.drive.duration) + TF_PERIOD_NS
    for stamp_ns in range(START_NS - TF_PERIOD_NS, end + TF_PERIOD_NS, TF_PERIOD_NS):
        seconds = min(max((stamp_ns - START_NS) * 1e-9, 0.0), scene.drive.duration)
        map_from_odom = _drift(seconds)
        odom_from_base = invert_rigid(map_from_odom) @ scene.drive.world_from_base(seconds)
        bag.transforms(stamp_ns, [("map", "odom", map_from_odom), ("odom", "base_link", odom_from_base)])


def _drift(seconds: float) -> NDArray[np.float64]:
    """map_from_odom as a localisation would publish it: the robot's start, and slow drift."""
    turn = about_z(0.4 + 0.01 * np.sin(0.1 * seconds))
    return rigid(turn, np.array([0.8 + 0.004 * seconds, -0.3 + 0.02 * np.sin(0.07 * seconds), 0.0]))


def _write_frame(bag: BagWriter, frame: RoomFrame, image_transport: str) -> None:
    stamp_ns = stamp_of(frame.seconds)
    bag.camera_info(f"{COLOUR}/camera_info", stamp_ns, OPTICAL_FRAME, frame.camera)
    if image_transport == "compressed":
        bag.jpeg(f"{COLOUR}/image_raw/compressed", stamp_ns, OPTICAL_FRAME, frame.image)
    else:
        bag.image(f"{COLOUR}/image_raw", stamp_ns, OPTICAL_FRAME, frame.image, "rgb8")
    bag.camera_info(f"{DEPTH}/camera_info", stamp_ns, OPTICAL_FRAME, frame.camera)
    millimetres = np.round(np.nan_to_num(frame.depth, nan=0.0) * 1000.0).astype(np.uint16)
    bag.image(f"{DEPTH}/image_rect_raw", stamp_ns, OPTICAL_FRAME, millimetres, "16UC1")
    bag.image(LABELS, stamp_ns, OPTICAL_FRAME, frame.objects, "mono8")
