# SPDX-License-Identifier: Apache-2.0
"""Listens to posed cameras and stores the images worth keeping in the map directory. Never loads torch.

Publishes `keyframe`, `keyframe_path`, `keyframe_markers` and `status`; serves `~/capture_now`, `~/pause_capture` and
`~/reset`, which forgets what waits and the counts, never a keyframe: a new map is a new `map_path`. What it listens to
is in subscriptions.py, what it does with it in capture_thread.py, what it tells in announcer.py and capture_report.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ros.announcer import Announcer
from ccl_lgs_ros.ros.bag_capture import BagCapture
from ccl_lgs_ros.ros.bag_topics import of_played_bag
from ccl_lgs_ros.ros.camera_options import declare_cameras
from ccl_lgs_ros.ros.capture_report import record_of, report_of
from ccl_lgs_ros.ros.capture_thread import AnnouncingStore, CaptureThread, LiveCapture
from ccl_lgs_ros.ros.cv_bridge_decoder import choose_colour_decoder
from ccl_lgs_ros.ros.guards import guarded, guarded_service
from ccl_lgs_ros.ros.keyframe_options import KeyframeNodeOptions
from ccl_lgs_ros.ros.keyframe_sender import KeyframeSender
from ccl_lgs_ros.ros.parameters import declare_options, on_change, warn_of_unknown
from ccl_lgs_ros.ros.silence import SilenceWatch
from ccl_lgs_ros.ros.spinning import every, run_node
from ccl_lgs_ros.ros.status import StatusPublisher
from ccl_lgs_ros.ros.subscriptions import Subscriptions
from ccl_lgs_ros.storage.capture_log import CaptureLog
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

GROUPS = ("frames.", "ingest.", "keyframes.")
CHANGEABLE = (
    "keyframes.min_translation",
    "keyframes.min_rotation",
    "keyframes.min_interval",
    "keyframes.max_interval",
    "keyframes.min_sharpness",
    "keyframes.max_speed",
    "keyframes.max_count",
    "keyframes.overflow",
    "ingest.depth_min",
    "ingest.depth_max",
    "ingest.depth_min_valid_ratio",
)
TICK = 0.1  # seconds
TRAIL_PERIOD = 1.0  # seconds
RECORD_PERIOD = 10.0  # seconds between savings of what was dropped and why
STOP_TIMEOUT = 3.5  # seconds that the last keyframes may take on the way out


class KeyframeNode(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("keyframe_node")
        self.options = declare_options(self, KeyframeNodeOptions())
        self.config = declare_options(self, MapConfig(), changeable=CHANGEABLE, groups=GROUPS)
        self.options = of_played_bag(self.options, self.config)
        self.cameras = declare_cameras(self, self.options, self.config.frames.camera_frame)
        warn_of_unknown(self, self._parameters)
        self.directory = MapDirectory.open_or_create(self.options.map_path)
        self.store = self._create_store()
        self._log = CaptureLog(self.directory)
        self._announcer = Announcer(self, self.store, self.directory, self.config.frames.map_frame)
        self._status = StatusPublisher(self)
        self.subscriptions_to: Subscriptions | None = None
        self.capture = self._create_capture()
        self._silence = SilenceWatch(self, self.subscriptions_to.inputs if self.subscriptions_to else ())
        self._sender = self._create_sender()
        self._create_services()
        every(self, TICK, guarded(self.get_logger(), "tick", self._tick))
        every(self, TRAIL_PERIOD, guarded(self.get_logger(), "path", self._announcer.trail.publish))
        every(self, RECORD_PERIOD, guarded(self.get_logger(), "record", self._record))
        on_change(self, lambda: self.config, self._use)
        self.capture.start()
        self.get_logger().info(f"map {self.directory.path}: {len(self.store)} keyframes; {self._source}")

    def close(self) -> None:
        """Store what has come, bring the map's files up to date."""
        if not self.capture.stop(STOP_TIMEOUT):
            self.get_logger().warning("the last images were not decided in time; the keyframes stored before are safe")
        self._announcer.announce(self.capture.camera_frames)
        if self._sender is not None:
            self._sender.close()
        guarded(self.get_logger(), "record", self._record)()
        self.store.store.close()
        self.directory.release()

    @property
    def _source(self) -> str:
        return f"reading {self.options.bag_path}" if self.options.bag_path else "listening"

    def _create_store(self) -> AnnouncingStore:
        o = self.config.keyframes
        store = KeyframeStore(self.directory, writable=True, jpeg_quality=o.jpeg_quality, max_disk_gb=o.max_disk_gb)
        return AnnouncingStore(store)

    def _create_capture(self) -> CaptureThread:
        o = self.options
        if o.bag_path:
            return BagCapture(self.store, self.config, Path(o.bag_path).expanduser(), self.cameras, o.pose_topic)
        capture = LiveCapture(self.store, self.config, self.cameras, choose_colour_decoder())
        self.subscriptions_to = Subscriptions(self, o, self.config, self.cameras, capture.add)
        return capture

    def _create_sender(self) -> KeyframeSender | None:
        is_sent = self.options.keyframe_transport == "topic"
        return KeyframeSender(self, self.store.store, self.directory.map_id) if is_sent else None

    def _create_services(self) -> None:
        for kind, name, work in (
            (Trigger, "capture_now", self._capture_now),
            (SetBool, "pause_capture", self._pause_capture),
            (Trigger, "reset", self._reset),
        ):
            self.create_service(kind, f"~/{name}", guarded_service(self.get_logger(), name, work))

    def _tick(self) -> None:
        if self.subscriptions_to is not None:
            self.subscriptions_to.look()
        self._announcer.announce(self.capture.camera_frames)
        self._silence.check(self.capture)
        report = report_of(self.capture, waiting_for=f"opening {self.options.bag_path}")
        self._status.publish(
            self.config.frames.map_frame,
            map_id=self.directory.map_id,
            map_version=self.directory.newest_version(),
            map_path=str(self.directory.path.resolve()),
            **(self._sender.add_to(report) if self._sender is not None else report),
        )

    def _record(self) -> None:
        record = record_of(self.capture, source=Path(self.options.bag_path).name or "live topics")
        if record is not None:
            self._log.put(record)

    def _use(self, config: MapConfig) -> None:
        self.capture.use(config)
        self.config = config

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.capture.reset()
        response.message = (
            f"images and transforms that wait and all counts are forgotten; the {len(self.store)} stored keyframes stay"
            if response.success
            else "a recording is read from its beginning to its end; start the node again to read it anew"
        )
        return response

    def _capture_now(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.capture.take_next()
        response.success = not self.capture.is_done
        response.message = "the next image becomes a keyframe" if response.success else "the recording has been read"
        return response

    def _pause_capture(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.capture.is_paused = request.data
        response.success, response.message = True, "capture is paused" if request.data else "capture goes on"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(KeyframeNode, "keyframe_node", args)


if __name__ == "__main__":
    sys.exit(main())
