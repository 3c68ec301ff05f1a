# SPDX-License-Identifier: Apache-2.0
"""Colour, depth, intrinsics and transforms, in whatever order they come, to posed frames in the order of their stamps.

Every choice depends on stamps alone, and is made when no later message can change it; so the same messages give the
same frames however their topics interleave, as long as each topic keeps its own order and nothing waits longer than
the queue and the timeout allow. The one exception is a camera whose intrinsics change while its image size does not:
they hold from their stamp on for what has not been decided when they arrive.
"""

import logging
import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.errors import TransformError
from ccl_lgs_ros.ingest.camera_streams import MAX_WAITING_BYTES, CameraStreams, Waiting
from ccl_lgs_ros.ingest.cloud_finder import CloudFinder
from ccl_lgs_ros.ingest.drops import Drops
from ccl_lgs_ros.ingest.frames import PosedFrame
from ccl_lgs_ros.ingest.poses import PoseFinder
from ccl_lgs_ros.ingest.records import (
    CameraInfoRecord,
    CloudRecord,
    ColourRecord,
    DepthRecord,
    ImageRecord,
    LabelRecord,
    PoseRecord,
    Record,
    TransformRecord,
)
from ccl_lgs_ros.ingest.transforms import DisconnectedError, PastExtrapolationError, TransformBuffer

logger = logging.getLogger(__name__)


class Assembler:
    """Holds images until all that belongs to them has come.

    Images leave in the order of their stamps, per camera: one that still waits holds back the later ones, up to
    `pending_queue` of them and for `tf_timeout` seconds. Waiting is measured on the clock given to `ready`, and on the
    stamps of the camera's images where none is given.

    Args:
        map_frame: frame that poses are wanted in.
        camera_frame: replaces the frame_id of colour images where not empty.
        camera_frames: the same for single cameras, by name.
        use_depth: whether an image needs depth.
        use_labels: whether an image needs labels.
        use_clouds: whether an image waits for the point clouds around it; it does not need any.
        cloud_slop: seconds that clouds may be from an image whose own they are.
        pose_source: auto, tf or topic.
        sync_slop: seconds that stamps of colour and depth, or labels, may differ.
        tf_timeout: seconds that an image waits for what belongs to it.
        tf_cache: seconds of tf and poses that are kept.
        pending_queue: images that may wait, per camera.
        drops: counts what is dropped.
        transforms: tf of a whole recording; poses are then kept without limit too.
    """

    def __init__(
        self,
        *,
        map_frame: str,
        camera_frame: str,
        use_depth: bool,
        pose_source: str,
        sync_slop: float,
        tf_timeout: float,
        tf_cache: float,
        pending_queue: int,
        drops: Drops,
        transforms: TransformBuffer | None = None,
        use_labels: bool = False,
        use_clouds: bool = False,
        cloud_slop: float = 0.1,
        camera_frames: Mapping[str, str] | None = None,
    ) -> None:
        self.transforms = TransformBuffer(cache=tf_cache) if transforms is None else transforms
        self.poses = PoseFinder(
            map_frame=map_frame,
            pose_source=pose_source,
            pose_slop=sync_slop,
            transforms=self.transforms,
            cache=tf_cache if transforms is None else math.inf,
        )
        self._clouds = CloudFinder(map_frame=map_frame, cloud_slop=cloud_slop, transforms=self.transforms)
        self._use_clouds = use_clouds
        self.waiting = ""  # what the next image waits for, a sentence; empty if none waits
        self.frame_of_camera: dict[str, str] = {}  # the optical frame of the last image, by camera name
        self._camera_frame, self._camera_frames = camera_frame, camera_frames or {}
        self._use_depth, self._use_labels = use_depth, use_labels
        self._slop_ns, self._timeout_ns = int(sync_slop * 1e9), int(tf_timeout * 1e9)
        self._pending_queue = pending_queue
        self._drops = drops
        self._cameras: dict[str, CameraStreams] = {}
        self._assumed_identity: set[tuple[str, str]] = set()

    def add(self, record: Record) -> None:
        """Take in what a message held.

        Raises:
            ValueError: if a transform or a pose is not rigid.
        """
        if isinstance(record, TransformRecord):
            self.transforms.add(record)
        elif isinstance(record, PoseRecord):
            self.poses.add(record)
        elif isinstance(record, CloudRecord):
            self._clouds.add(record)
        elif isinstance(record, ImageRecord | CameraInfoRecord):
            self._add_to_camera(record)

    def forget(self) -> None:
        """Start anew: nothing waits; static transforms and intrinsics, which may come only once, stay."""
        for camera in self._cameras.values():
            camera.forget()
        self.poses.forget()
        self._clouds.forget()
        self.waiting = ""

    def ready(self, now_ns: int | None = None, *, is_end: bool = False) -> Iterator[PosedFrame]:
        """The frames that are complete, oldest first; `is_end` says that nothing more will come."""
        self.waiting = ""
        for name in sorted(self._cameras):
            yield from self._ready_of(self._cameras[name], now_ns, is_end)

    @property
    def num_pending(self) -> int:
        """Images that wait."""
        return sum(len(camera.pending) for camera in self._cameras.values())

    @property
    def cameras(self) -> dict[str, CameraStreams]:
        """The cameras that sent anything, by name."""
        return self._cameras

    def _add_to_camera(self, record: ImageRecord | CameraInfoRecord) -> None:
        camera = self._cameras.setdefault(record.camera_name, CameraStreams(self._slop_ns, self._pending_queue))
        if not isinstance(record, CameraInfoRecord) and record.stamp_ns <= 0:
            self._drops.add("format", "an image has no stamp; its driver must fill header.stamp")
        elif isinstance(record, CameraInfoRecord):
            camera.add_info(record)
        elif isinstance(record, DepthRecord):
            if self._use_depth:
                camera.depths.add(record)
        elif isinstance(record, LabelRecord):
            if self._use_labels:
                camera.labels.add(record)
        elif isinstance(record, ColourRecord):
            if camera.is_jump_back(record.stamp_ns):
                self.poses.forget_later(record.stamp_ns)
                for lost in camera.restart(record.stamp_ns):
                    self._drops.add("queue", f"the stamps jumped back to {record.stamp_ns} ns while {lost} ns waited")
            refusal = camera.add_colour(record)
            if refusal:
                self._drops.add(*refusal)

    def _ready_of(self, camera: CameraStreams, now_ns: int | None, is_end: bool) -> Iterator[PosedFrame]:
        camera.start_waiting(now_ns)
        while camera.pending:
            colour = camera.pending[0].colour
            is_full = len(camera.pending) > self._pending_queue or camera.is_heavy
            is_late = is_end or camera.waited_ns(now_ns) > self._timeout_ns
            try:
                frame = self._frame(camera, colour, is_final=is_full or is_late)
            except Waiting as wait:
                if not (is_full or is_late or wait.is_hopeless):
                    self.waiting = str(wait)
                    return
                camera.pop()
                if is_full and not is_late and not wait.is_hopeless:
                    self._drops.add("queue", self._full_text(wait))
                else:
                    self._drops.add(wait.reason, str(wait))
                continue
            except Exception as error:  # one that is ours must not hold up the images behind
                camera.pop()
                self._drops.add_error(error)
                continue
            camera.pop()
            if len(self._cameras) == 1:
                self._clouds.forget_before(colour.stamp_ns)
            yield frame

    def _full_text(self, wait: Waiting) -> str:
        limits = f"{self._pending_queue} images waited, or {MAX_WAITING_BYTES >> 20} MB of them"
        return f"more than {limits}; {wait}"

    def _frame(self, camera: CameraStreams, colour: ColourRecord, *, is_final: bool) -> PosedFrame:
        info = camera.info_for(colour, is_final=is_final)
        name = colour.camera_name
        frame_id = self._camera_frames.get(name) or self._camera_frame or colour.frame_id or info.frame_id
        if not frame_id:
            option = f"cameras.{name}.camera_frame" if name else "frames.camera_frame"
            raise Waiting("format", f"the image names no frame; set {option}", is_hopeless=True)
        self.frame_of_camera[name] = frame_id
        depth, depth_info, colour_from_depth = None, None, None
        if self._use_depth:
            depth = camera.depths.nearest(colour.stamp_ns, is_final=is_final)
            depth_info = camera.depth_info_for(depth, colour, is_final=is_final)
            sent_from = depth.frame_id or colour.frame_id
            depth_frame = frame_id if sent_from == colour.frame_id else sent_from
            colour_from_depth = self._colour_from_depth(frame_id, depth_frame, colour.stamp_ns, is_final)
        if self._use_clouds and not is_final and not self._clouds.has_all(colour.stamp_ns):
            raise Waiting("sync", "no later point cloud has come")
        pose = self._pose(colour, frame_id, is_final)
        return PosedFrame(
            colour=colour,
            colour_info=info,
            world_from_camera=pose,
            clouds=self._clouds.seen_by(frame_id, colour.stamp_ns, pose) if self._use_clouds else (),
            depth=depth,
            depth_info=depth_info,
            colour_from_depth=colour_from_depth,
            labels=camera.labels.nearest(colour.stamp_ns, is_final=is_final) if self._use_labels else None,
        )

    def _pose(self, colour: ColourRecord, frame_id: str, is_final: bool) -> NDArray[np.float64]:
        try:
            return self.poses.world_from_camera(colour.camera_name, frame_id, colour.stamp_ns, is_final=is_final)
        except TransformError as error:
            is_hopeless = isinstance(error, PastExtrapolationError)
            raise Waiting("tf", f"the camera '{frame_id}' has no pose: {error}", is_hopeless=is_hopeless) from error

    def _colour_from_depth(
        self, colour_frame: str, depth_frame: str, stamp_ns: int, is_final: bool
    ) -> NDArray[np.float64] | None:
        """[4, 4], None where the frames are one or nothing says how they differ."""
        if colour_frame == depth_frame:
            return None
        pair = (colour_frame, depth_frame)
        try:
            return self.transforms.lookup(colour_frame, depth_frame, stamp_ns)
        except DisconnectedError as error:
            if pair not in self._assumed_identity and not is_final:
                raise Waiting("tf", f"the depth camera has no place: {error}") from error
        except TransformError as error:
            raise Waiting("tf", f"the depth camera has no place: {error}") from error
        if pair not in self._assumed_identity:
            self._assumed_identity.add(pair)
            logger.warning(
                "tf does not say where '%s' is from '%s'; depth and colour cameras are taken to be in one place",
                depth_frame,
                colour_frame,
            )
        return None
