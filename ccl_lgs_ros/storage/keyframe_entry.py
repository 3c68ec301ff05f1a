# SPDX-License-Identifier: Apache-2.0
"""All that is known of a stored keyframe but its pixels, as a frame of nerfstudio's transforms.json. No torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL
from ccl_lgs_ros.storage.confined import is_inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyframeEntry:
    """A keyframe without its pixels."""

    id: int
    stamp_ns: int
    camera: Camera
    world_from_camera: NDArray[np.float64]  # [4, 4], optical frame
    camera_name: str
    sharpness: float
    image_name: str
    depth_name: str  # empty where there is no depth
    num_bytes: int  # of image, depth and labels
    label_name: str = ""  # empty where there are no labels
    revision: int = 0  # how often its pose was corrected

    @staticmethod
    def of(keyframe: Keyframe, id: int, num_bytes: int) -> "KeyframeEntry":
        """The entry of a keyframe that is stored under an id."""
        return KeyframeEntry(
            id=id,
            stamp_ns=int(keyframe.stamp_ns),
            camera=keyframe.camera,
            world_from_camera=np.asarray(keyframe.world_from_camera, np.float64),
            camera_name=keyframe.camera_name,
            sharpness=float(keyframe.sharpness),
            image_name=f"images/{id:06d}.jpg",
            depth_name="" if keyframe.depth is None else f"depth/{id:06d}.png",
            num_bytes=num_bytes,
            label_name="" if keyframe.labels is None else f"labels/{id:06d}.png",
        )

    @property
    def file_names(self) -> list[str]:
        """Its image and, where there are any, depth and labels."""
        return [self.image_name, *filter(None, (self.depth_name, self.label_name))]

    def keyframe(
        self, image: NDArray[np.uint8], depth: NDArray[np.float32] | None, labels: NDArray[np.int32] | None = None
    ) -> Keyframe:
        """The keyframe with its pixels."""
        return Keyframe(
            id=self.id,
            stamp_ns=self.stamp_ns,
            camera=self.camera,
            world_from_camera=self.world_from_camera,
            image=image,
            depth=depth,
            labels=labels,
            camera_name=self.camera_name,
            sharpness=self.sharpness,
        )

    def frame(self) -> dict:
        """The entry in nerfstudio's words; flipping axes and printing floats lose nothing."""
        camera = self.camera
        frame = {
            "file_path": self.image_name,
            "depth_file_path": self.depth_name,
            "label_file_path": self.label_name,
            "transform_matrix": (self.world_from_camera @ OPTICAL_FROM_OPENGL).tolist(),
            "w": camera.width,
            "h": camera.height,
            "fl_x": float(camera.fx),
            "fl_y": float(camera.fy),
            "cx": float(camera.cx),
            "cy": float(camera.cy),
            "id": self.id,
            "stamp_ns": self.stamp_ns,
            "camera": self.camera_name,
            "sharpness": self.sharpness,
            "bytes": self.num_bytes,
        }
        for name in ("depth_file_path", "label_file_path"):
            if not frame[name]:
                del frame[name]
        return frame

    @staticmethod
    def from_frame(frame: dict, source: Path) -> "KeyframeEntry":
        """The entry of a frame.

        Raises:
            MapError: naming the source, if something is missing or of the wrong kind.
        """
        try:
            entry = KeyframeEntry(
                id=int(frame["id"]),
                stamp_ns=int(frame["stamp_ns"]),
                camera=Camera(
                    width=int(frame["w"]),
                    height=int(frame["h"]),
                    fx=float(frame["fl_x"]),
                    fy=float(frame["fl_y"]),
                    cx=float(frame["cx"]),
                    cy=float(frame["cy"]),
                ),
                world_from_camera=np.array(frame["transform_matrix"], np.float64).reshape(4, 4) @ OPTICAL_FROM_OPENGL,
                camera_name=str(frame["camera"]),
                sharpness=float(frame["sharpness"]),
                image_name=str(frame["file_path"]),
                depth_name=str(frame.get("depth_file_path", "")),
                num_bytes=int(frame["bytes"]),
                label_name=str(frame.get("label_file_path", "")),
            )
            entry.camera_name.encode()  # what JSON can hold and a message cannot
            if not all(is_inside(name) for name in entry.file_names):
                raise ValueError(f"files outside of the map: {', '.join(entry.file_names)[:200]}")
            return entry
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise MapError(f"{source} holds a damaged keyframe ({error!r}); restore it from a copy") from error
