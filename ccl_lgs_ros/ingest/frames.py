# SPDX-License-Identifier: Apache-2.0
"""A posed frame's messages to pixels: decoded, undistorted, depth registered to the colour image."""

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.ingest.cloud_finder import SeenCloud
from ccl_lgs_ros.ingest.clouds import cloud_depth, decode_cloud
from ccl_lgs_ros.ingest.depth import decode_depth, limited
from ccl_lgs_ros.ingest.images import ColourDecoder, decode_colour
from ccl_lgs_ros.ingest.labels import decode_labels
from ccl_lgs_ros.ingest.records import CameraInfoRecord, ColourRecord, DepthRecord, LabelRecord
from ccl_lgs_ros.ingest.rectify import Lens, Rectifier, lens_of
from ccl_lgs_ros.ingest.registration import RayMap, register_depth

logger = logging.getLogger(__name__)

IMPLAUSIBLE_MEDIAN = 50.0  # metres; above, the depth unit is likely wrong
MAX_LENSES = 16  # lenses whose undistortion is kept; a few megabytes each
ASPECT_TOLERANCE = 0.01  # relative difference of aspect ratios that rounding of sizes explains


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedFrame:
    """A colour image with all that belongs to it, not decoded yet."""

    colour: ColourRecord
    colour_info: CameraInfoRecord
    world_from_camera: NDArray[np.float64]  # [4, 4] optical frame
    depth: DepthRecord | None = None
    depth_info: CameraInfoRecord | None = None  # None: depth has the colour camera's intrinsics
    colour_from_depth: NDArray[np.float64] | None = None  # [4, 4]; None: the frames are one
    labels: LabelRecord | None = None
    clouds: tuple[SeenCloud, ...] = ()

    @property
    def stamp_ns(self) -> int:
        """Of the colour image."""
        return self.colour.stamp_ns

    @property
    def camera_name(self) -> str:
        """Of the colour image."""
        return self.colour.camera_name


class FrameDecoder:
    """Decodes frames; what depends on the intrinsics alone is made once.

    Args:
        decode_colour: reads colour images, as ingest.images.decode_colour does.
    """

    def __init__(
        self,
        *,
        max_image_size: int,
        depth_scale: float,
        depth_min: float,
        depth_max: float,
        depth_min_valid_ratio: float,
        decode_colour: ColourDecoder = decode_colour,
    ) -> None:
        self._max_image_size = max_image_size
        self._depth_scale = depth_scale
        self._depth_min, self._depth_max = depth_min, depth_max
        self._min_valid_ratio = depth_min_valid_ratio
        self._decode_colour = decode_colour
        self._rectifiers: dict[Lens, Rectifier] = {}
        self._rays: dict[Lens, RayMap] = {}
        self._has_warned = False

    def colour(self, frame: PosedFrame) -> tuple[Rectifier, NDArray[np.uint8]]:
        """What undistorts the colour camera, and its undistorted RGB image [H, W, 3].

        Raises:
            DecodeError: if pixels or intrinsics cannot be read.
        """
        image = self._decode_colour(frame.colour)
        rectifier = self._rectifier(frame, (image.shape[1], image.shape[0]))
        return rectifier, rectifier.image(image)

    def depth(self, frame: PosedFrame, rectifier: Rectifier) -> NDArray[np.float32] | None:
        """The depth [H, W] of the undistorted colour camera, None where the frame has none.

        Args:
            frame: whose colour image has been decoded.
            rectifier: of that image.

        Raises:
            DecodeError: if pixels or intrinsics cannot be read, or too little depth is known.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is sent as metres may be any number
            return self._depth(frame, rectifier)

    def labels(self, frame: PosedFrame, rectifier: Rectifier) -> NDArray[np.int32] | None:
        """The labels [H, W] of the undistorted colour camera, 0 none; None where the frame has no label image.

        Raises:
            DecodeError: if the values cannot be read, or have another shape than the colour image.
        """
        if frame.labels is None:
            return None
        labels = decode_labels(frame.labels)
        _check_aspect("labels", (labels.shape[1], labels.shape[0]), rectifier.lens, "give the colour camera's labels")
        return rectifier.labels(labels)

    def _depth(self, frame: PosedFrame, rectifier: Rectifier) -> NDArray[np.float32] | None:
        if frame.depth is None:
            return self._depth_of_clouds(frame, rectifier)
        raw = decode_depth(frame.depth, depth_scale=self._depth_scale)
        self._check_scale(raw)
        lens = self._depth_lens(frame, raw, rectifier.lens)
        if lens == rectifier.lens and frame.colour_from_depth is None:
            depth = rectifier.depth(raw)
        else:
            colour_from_depth = np.eye(4) if frame.colour_from_depth is None else frame.colour_from_depth
            depth = register_depth(raw, self._rays_of(lens), rectifier.camera, colour_from_depth)
        depth = limited(depth, depth_min=self._depth_min, depth_max=self._depth_max)
        self._check_known(depth)
        return depth

    def _depth_of_clouds(self, frame: PosedFrame, rectifier: Rectifier) -> NDArray[np.float32] | None:
        """What point clouds tell of the depth: some pixels; None where they tell nothing."""
        points = [transform_points(camera_from_cloud, decode_cloud(cloud)) for cloud, camera_from_cloud in frame.clouds]
        if not points:
            return None
        depth = cloud_depth(np.concatenate(points), rectifier.camera)
        depth = limited(depth, depth_min=self._depth_min, depth_max=self._depth_max)
        return depth if np.isfinite(depth).any() else None

    def _rectifier(self, frame: PosedFrame, size: tuple[int, int]) -> Rectifier:
        lens = lens_of(frame.colour_info, is_rectified=frame.colour.is_rectified, size=size)
        if lens not in self._rectifiers:
            _make_room(self._rectifiers)
            self._rectifiers[lens] = Rectifier(lens, max_image_size=self._max_image_size)
        return self._rectifiers[lens]

    def _depth_lens(self, frame: PosedFrame, raw: NDArray[np.float32], colour_lens: Lens) -> Lens:
        assert frame.depth is not None
        size = (raw.shape[1], raw.shape[0])
        if frame.depth_info is not None:
            return lens_of(frame.depth_info, is_rectified=frame.depth.is_rectified, size=size)
        _check_aspect("depth without camera_info", size, colour_lens, "give the depth camera's camera_info")
        return colour_lens.resized(*size) if size != (colour_lens.width, colour_lens.height) else colour_lens

    def _rays_of(self, lens: Lens) -> RayMap:
        if lens not in self._rays:
            _make_room(self._rays)
            self._rays[lens] = RayMap.of(lens)
        return self._rays[lens]

    def _check_known(self, depth: NDArray[np.float32]) -> None:
        known = float(np.isfinite(depth).mean())
        if known < self._min_valid_ratio:
            raise DecodeError(
                f"depth is known on {known:.1%} of the image, less than ingest.depth_min_valid_ratio "
                f"({self._min_valid_ratio:.1%}), within {self._depth_min} to {self._depth_max} m"
            )

    def _check_scale(self, raw: NDArray[np.float32]) -> None:
        known = raw[np.isfinite(raw)]
        if known.size and not self._has_warned and np.median(known) > IMPLAUSIBLE_MEDIAN:
            self._has_warned = True
            logger.warning(
                "the median depth is %.0f m: the unit is likely wrong; set ingest.depth_scale", np.median(known)
            )


def _check_aspect(what: str, size: tuple[int, int], lens: Lens, fix: str) -> None:
    aspect = (size[0] / size[1]) / (lens.width / lens.height)
    if abs(aspect - 1.0) > ASPECT_TOLERANCE:
        colour = f"the colour image of {lens.width}x{lens.height}"
        raise DecodeError(f"{what} of {size[0]}x{size[1]} has another shape than {colour}; {fix}")


def _make_room(cache: dict[Lens, Any]) -> None:
    """Forget the oldest lens where there are many, as those of a camera that zooms."""
    if len(cache) >= MAX_LENSES:
        del cache[next(iter(cache))]


def sharpness(image: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey image: small where motion or focus blurs it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
