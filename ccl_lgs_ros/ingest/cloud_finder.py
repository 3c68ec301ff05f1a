# SPDX-License-Identifier: Apache-2.0
"""Which point clouds belong to an image, and where they are seen from its camera."""

import logging
from bisect import bisect_left, bisect_right, insort

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.ingest.records import CloudRecord
from ccl_lgs_ros.ingest.transforms import JUMP_BACK_NS, DisconnectedError, TransformBuffer

logger = logging.getLogger(__name__)

MAX_CLOUDS = 64  # that wait; more come only where images lag far behind

SeenCloud = tuple[CloudRecord, NDArray[np.float64]]  # and camera_from_cloud [4, 4]


class CloudFinder:
    """Keeps clouds until the images have passed them.

    All clouds within `cloud_slop` of an image are its own, each from where its sensor was. A cloud in the map's frame
    moves with nothing and holds until the next one.

    Args:
        map_frame: frame that poses are in.
        cloud_slop: seconds.
        transforms: tf.
    """

    def __init__(self, *, map_frame: str, cloud_slop: float, transforms: TransformBuffer) -> None:
        self._map_frame, self._slop_ns, self._transforms = map_frame, int(cloud_slop * 1e9), transforms
        self._clouds: list[CloudRecord] = []
        self._standing: list[CloudRecord] = []  # in the map's frame, the newest few
        self._newest_ns: int | None = None
        self._has_warned = False

    def add(self, record: CloudRecord) -> None:
        """Keep a cloud."""
        if self._newest_ns is not None and record.stamp_ns < self._newest_ns - JUMP_BACK_NS:
            self.forget()
        self._newest_ns = max(self._newest_ns or 0, record.stamp_ns)
        kept = self._standing if record.frame_id == self._map_frame else self._clouds
        insort(kept, record, key=lambda cloud: cloud.stamp_ns)
        del kept[:-MAX_CLOUDS]

    def forget(self) -> None:
        """Start anew."""
        self._clouds, self._standing, self._newest_ns = [], [], None

    def has_all(self, stamp_ns: int) -> bool:
        """Whether no later cloud can belong to an image of this stamp."""
        wait_ns = 0 if self._standing else self._slop_ns
        return self._newest_ns is not None and self._newest_ns >= stamp_ns + wait_ns

    def seen_by(self, frame_id: str, stamp_ns: int, world_from_camera: NDArray[np.float64]) -> tuple[SeenCloud, ...]:
        """The clouds of an image, each with camera_from_cloud.

        Args:
            frame_id: the camera's optical frame.
            stamp_ns: of the image.
            world_from_camera: [4, 4] at the stamp.
        """
        found = []
        first = bisect_left(self._clouds, stamp_ns - self._slop_ns, key=lambda cloud: cloud.stamp_ns)
        last = bisect_right(self._clouds, stamp_ns + self._slop_ns, key=lambda cloud: cloud.stamp_ns)
        for cloud in self._clouds[first:last]:
            place = self._place(cloud, frame_id, stamp_ns, world_from_camera)
            if place is not None:
                found.append((cloud, place))
        at = bisect_right(self._standing, stamp_ns, key=lambda cloud: cloud.stamp_ns)
        if self._standing:
            found.append((self._standing[max(at - 1, 0)], invert_rigid(world_from_camera)))
        return tuple(found)

    def forget_before(self, stamp_ns: int) -> None:
        """Forget what no image of this stamp or a later one can use."""
        del self._clouds[: bisect_left(self._clouds, stamp_ns - self._slop_ns, key=lambda cloud: cloud.stamp_ns)]
        del self._standing[: max(bisect_right(self._standing, stamp_ns, key=lambda cloud: cloud.stamp_ns) - 1, 0)]

    def _place(
        self, cloud: CloudRecord, frame_id: str, stamp_ns: int, world_from_camera: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """camera_from_cloud [4, 4]; None where nothing joins the two."""
        try:
            world_from_cloud = self._transforms.lookup(self._map_frame, cloud.frame_id, cloud.stamp_ns)
            return invert_rigid(world_from_camera) @ world_from_cloud
        except DisconnectedError:
            pass  # poses may come by a topic: then tf joins the sensors alone
        except TransformError:
            return None
        try:
            return self._transforms.lookup(frame_id, cloud.frame_id, stamp_ns)
        except TransformError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("the clouds are not used: %s", error)
            return None
