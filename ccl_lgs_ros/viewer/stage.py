# SPDX-License-Identifier: Apache-2.0
"""What one browser tab shows in 3D: splats, floor, camera path, keyframes, and the boxes of an answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from viser import ClientHandle

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.boxes_in_pictures import BOX_COLOUR, EDGES
from ccl_lgs_ros.geometry import level_axes, quat_from_rotation
from ccl_lgs_ros.navigation.approach import Approach
from ccl_lgs_ros.pictures import MASK_COLOUR
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.viewer.cameras import fov_of
from ccl_lgs_ros.viewer.splats import Splats

MOST_FRUSTA = 60  # evenly spread; more hide the map
FRUSTUM_SCALE = 0.05  # metres
PATH_COLOUR, FRUSTUM_COLOUR = (70, 130, 230), (70, 130, 230)
LINE, THIN_LINE = 3.0, 1.5  # pixels
FLOOR_QUANTILES = (0.01, 0.99)  # of the splats' places: strays do not stretch the floor
CELL = 0.5  # metres
ARROW, ABOVE_FLOOR = 0.35, 0.1  # metres: its length, and how high it hovers
BEST_STAND, OTHER_STAND = (0, 120, 50), (70, 165, 105)
MARGIN = 0.03  # metres by which a drawn box is larger, or the splats of a surface would hide its edges

Clicked = Callable[[NDArray[np.float64], NDArray[np.float64]], None]
Opened = Callable[[KeyframeEntry], None]


class Visible(NamedTuple):
    """Which parts of a scene are seen."""

    boxes: bool = True
    path: bool = True
    keyframes: bool = False
    floor: bool = True
    stands: bool = True


class Stage:
    """The scene of one tab; each part is replaced as a whole."""

    def __init__(self, client: ClientHandle) -> None:
        self._client, self._scene = client, client.scene
        self._splats: Any = None
        self._floor: Any = None
        self._path: list[Any] = []
        self._keyframes: list[Any] = []
        self._stands: list[Any] = []
        self._answer: list[Any] = []

    def on_click(self, clicked: Clicked) -> None:
        """Call with origin [3] and direction [3] of the ray through a pixel that is clicked."""
        self._scene.on_click()(lambda event: clicked(np.array(event.ray_origin), np.array(event.ray_direction)))

    def show_splats(self, splats: Splats, colors: NDArray[np.float32]) -> None:
        """The Gaussians in these colours [n, 3]."""
        shapes = (splats.centers, splats.covariances, colors, splats.opacities)
        if self._splats is None:
            self._splats = self._scene.add_gaussian_splats("/splats", *shapes)
        else:
            self._splats.set_gaussians(*shapes)

    def paint(self, colors: NDArray[np.float32]) -> None:
        """Other colours [n, 3] for the same Gaussians."""
        if self._splats is not None:
            self._splats.rgbs = colors

    def clear_splats(self) -> None:
        """No Gaussians."""
        self._removed([part for part in (self._splats, self._floor) if part is not None])
        self._splats = self._floor = None

    def show_floor(self, splats: Splats, up: NDArray[np.float64], is_visible: bool) -> None:
        """A grid under everything, as large as the map."""
        self._removed([] if self._floor is None else [self._floor])
        placed = floor_of(splats.centers, up)
        self._floor = self._scene.add_grid(
            "/floor",
            width=placed[2][0],
            height=placed[2][1],
            cell_size=CELL,
            section_size=2.0 * CELL,
            wxyz=placed[1],
            position=placed[0],
            visible=is_visible,
        )

    def show_keyframes(self, entries: Sequence[KeyframeEntry], opened: Opened, visible: Visible) -> None:
        """The way of the camera, and some of its keyframes, which open when they are clicked."""
        self._removed(self._path + self._keyframes)
        self._path, self._keyframes = [], []
        places = np.array([entry.world_from_camera[:3, 3] for entry in entries]).reshape(-1, 3)
        if len(places) > 1:
            steps = np.stack([places[:-1], places[1:]], axis=1)
            self._path.append(
                self._scene.add_line_segments(
                    "/path", steps, PATH_COLOUR, thickness=THIN_LINE, thickness_units="screen", visible=visible.path
                )
            )
        for entry in spread(entries, MOST_FRUSTA):
            self._keyframes.append(self._frustum(entry, opened, visible.keyframes))

    def show_answer(self, found: Answer, is_visible: bool, selected: int | None = None) -> None:
        """A box with its score for each instance; the selected one stands out."""
        self.clear_answer()
        for place, instance in enumerate(found.instances):
            colour = MASK_COLOUR if instance.id == selected else BOX_COLOUR
            self._answer += self._box(f"/answer/{place}", instance, colour, is_visible)

    def clear_answer(self) -> None:
        """No boxes."""
        self._removed(self._answer + self._stands)
        self._answer, self._stands = [], []

    def show_stands(self, poses: Sequence[Approach], up: NDArray[np.float64], is_visible: bool) -> None:
        """An arrow on the floor for each pose of a robot that faces the instance, the best one first."""
        self._removed(self._stands)
        self._stands = []
        if poses:
            bases = np.array([pose.world_from_base for pose in poses])
            tails = bases[:, :3, 3] + ABOVE_FLOOR * up
            arrows = np.stack([tails, tails + ARROW * bases[:, :3, 0]], axis=1)
            colours = np.array([BEST_STAND, *[OTHER_STAND] * (len(poses) - 1)], np.uint8)
            self._stands = [self._scene.add_arrows("/stands", arrows, colours, visible=is_visible)]

    def set_visible(self, visible: Visible) -> None:
        """Which parts are seen."""
        floor = [] if self._floor is None else [self._floor]
        for parts, is_visible in zip(
            (self._answer, self._path, self._keyframes, floor, self._stands), visible, strict=True
        ):
            for part in parts:
                part.visible = is_visible

    def _frustum(self, entry: KeyframeEntry, opened: Opened, is_visible: bool) -> Any:
        camera, pose = entry.camera, entry.world_from_camera
        frustum = self._scene.add_camera_frustum(
            f"/keyframes/{entry.id}",
            fov=fov_of(camera),
            aspect=camera.width / camera.height,
            scale=FRUSTUM_SCALE,
            thickness=THIN_LINE,
            thickness_units="screen",
            color=FRUSTUM_COLOUR,
            wxyz=quat_from_rotation(pose[:3, :3]),
            position=pose[:3, 3],
            visible=is_visible,
        )
        frustum.on_click(lambda _: opened(entry))
        return frustum

    def _box(self, name: str, instance: Instance, colour: tuple[int, int, int], is_visible: bool) -> list[Any]:
        box = instance.box
        corners = (np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5) * (box.size + MARGIN)
        edges = self._scene.add_line_segments(
            f"{name}/edges",
            np.array([[corners[a], corners[b]] for a, b in EDGES]),
            colour,
            thickness=LINE,
            thickness_units="screen",
            wxyz=quat_from_rotation(box.rotation),
            position=box.center,
            visible=is_visible,
        )
        top = box.center + box.rotation[:, 2] * (box.size[2] + MARGIN) / 2.0
        label = self._scene.add_label(
            f"{name}/label", f"{instance.score:.2f}", position=top, anchor="bottom-center", visible=is_visible
        )
        return [edges, label]

    @staticmethod
    def _removed(parts: Sequence[Any]) -> None:
        for part in parts:
            part.remove()


def spread(entries: Sequence[KeyframeEntry], most: int) -> list[KeyframeEntry]:
    """At most so many keyframes, evenly spread."""
    places = np.unique(np.linspace(0, len(entries) - 1, min(len(entries), most)).round().astype(np.int64))
    return [entries[i] for i in places]


def floor_of(
    points: NDArray[np.floating], up: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """Centre [3], quaternion wxyz [4] and size of the square grid that lies under points [n, 3]."""
    axes = level_axes(up)  # floor_from_world
    quat = quat_from_rotation(axes.T)
    if len(points) == 0:
        return np.zeros(3), quat, (2.0 * CELL, 2.0 * CELL)
    low, high = np.quantile(points @ axes.T, FLOOR_QUANTILES, axis=0)
    middle = np.array([*(low + high)[:2] / 2.0, low[2]])
    width, height = (float(np.ceil(side / CELL + 1.0) * CELL) for side in (high - low)[:2])
    return middle @ axes, quat, (width, height)
