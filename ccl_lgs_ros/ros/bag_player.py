# SPDX-License-Identifier: Apache-2.0
"""Plays a recording as topics, once those who listen are ready, so that its first image is as safe as its last.

Publishes the topics of the recording and /clock. Its static transforms come before everything else, all of them,
wherever in the recording they stand.
"""

import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.bag_player_options import BagPlayerOptions
from ccl_lgs_ros.ros.conversions import NS_PER_S, time_message
from ccl_lgs_ros.ros.guards import guarded
from ccl_lgs_ros.ros.parameters import declare_options, warn_of_unknown
from ccl_lgs_ros.ros.qos import STATIC
from ccl_lgs_ros.ros.script import ScriptNode
from ccl_lgs_ros.ros.spinning import run_node
from ccl_lgs_ros.storage.bag import Bag, Topic

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
TF = "tf2_msgs/msg/TFMessage"
CLOCK = "/clock"
DEPTH = 100  # messages that a reliable listener may be behind
CLOCK_PERIOD = 0.02  # seconds
SETTLE = 1.0  # seconds without a new listener after which all that want to listen do
LAST_WORDS = 2.0  # seconds that reliable listeners have for the last messages


class BagPlayer(ScriptNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("bag_player")
        self.options = declare_options(self, BagPlayerOptions())
        warn_of_unknown(self, self._parameters)
        self._path = Path(self.options.bag_path).expanduser()
        if not self.options.bag_path:
            raise ConfigError("the parameter 'bag_path' must name a recording")
        self._states: dict[str, int] = {}
        self.create_subscription(MapStatus, "status", guarded(self.get_logger(), "status", self._hear), STATIC)
        self._clock = self.create_publisher(Clock, CLOCK, QoSProfile(depth=1))
        self.begin()

    def work(self) -> int:
        """Wait, then play all of it."""
        with Bag(self._path) as bag:
            topics = [topic for topic in bag.topics.values() if topic.name != CLOCK]
            publishers = self._create_publishers(topics)
            static = [topic.name for topic in topics if is_static(topic) and topic.name in publishers]
            for name in static:
                publishers[name].publish(static_transforms(bag, name))
            begin_ns = bag.span_ns[0] + round(self.options.bag_start * NS_PER_S)
            self._wait_for_listeners(publishers, [t.name for t in topics if t.type in IMAGES], begin_ns)
            self.get_logger().info(f"playing {self._path} from second {self.options.bag_start:g}")
            count = self._play(bag, {name: p for name, p in publishers.items() if name not in static}, begin_ns)
            ends_at = time.monotonic() + LAST_WORDS
            for publisher in publishers.values():
                publisher.wait_for_all_acked(Duration(seconds=max(ends_at - time.monotonic(), 0.0)))
        self.get_logger().info(f"{self._path} has been played: {count} messages")
        return 0

    def _hear(self, status: MapStatus) -> None:
        self._states[status.node] = status.state

    def _create_publishers(self, topics: Sequence[Topic]) -> dict[str, Publisher]:
        reliable, found, unknown = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE), {}, []
        for topic in topics:
            try:
                kind = message_class(topic.type)
            except (ImportError, AttributeError):
                unknown.append(f"{topic.name} ({topic.type})")
            else:
                found[topic.name] = self.create_publisher(kind, topic.name, STATIC if is_static(topic) else reliable)
        if unknown:
            self.get_logger().warning(f"not played, as their types are not installed: {', '.join(unknown)}")
        return found

    def _wait_for_listeners(self, publishers: dict[str, Publisher], images: list[str], begin_ns: int) -> None:
        """Until the nodes that are waited for can work, one of them gets images, and no listener is on its way."""
        names = self.options.wait_for
        for name in names:
            self.until(lambda name=name: self._states.get(name, MapStatus.STATE_UNCONFIGURED), f"{name} to be ready")
        if names and images:
            self.until(lambda: any(self._is_heard(topic, names) for topic in images), "a listener to the images")
        count, since = -1, time.monotonic()
        while time.monotonic() - since < SETTLE:
            now = sum(publisher.get_subscription_count() for publisher in publishers.values())
            count, since = now, (since if now == count else time.monotonic())
            self._tell_time(begin_ns)
            self.sleep(CLOCK_PERIOD)

    def _is_heard(self, topic: str, names: Sequence[str]) -> bool:
        return any(info.node_name in names for info in self.get_subscriptions_info_by_topic(topic))

    def _play(self, bag: Bag, publishers: dict[str, Publisher], begin_ns: int) -> int:
        """Each message at its time; returns how many there were."""
        began, rate, count, told_at = time.monotonic(), self.options.bag_rate, 0, float("-inf")
        for topic, time_ns, data in bag.raw_messages(publishers, begin_ns):
            due = began + (time_ns - begin_ns) / NS_PER_S / rate
            while (now := time.monotonic()) < due or now - told_at > CLOCK_PERIOD:
                self._tell_time(begin_ns + round((min(now, due) - began) * rate * NS_PER_S))
                told_at = now
                self.sleep(min(due - now, CLOCK_PERIOD))
            publishers[topic].publish(data)
            count += 1
        return count

    def _tell_time(self, now_ns: int) -> None:
        self._clock.publish(Clock(clock=time_message(now_ns)))


def is_static(topic: Topic) -> bool:
    """Whether a topic holds static transforms."""
    return topic.type == TF and topic.name.endswith("/tf_static")


def static_transforms(bag: Bag, topic: str) -> TFMessage:
    """The static transforms of a whole recording; of one frame the newest."""
    newest = {}
    for _, _, data in bag.raw_messages([topic]):
        for transform in deserialize_message(data, TFMessage).transforms:
            newest[transform.child_frame_id] = transform
    return TFMessage(transforms=list(newest.values()))


def message_class(name: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/Image"; raises ImportError or AttributeError without it."""
    package, folder, kind = name.split("/")
    return getattr(import_module(f"{package}.{folder}"), kind)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(BagPlayer, "bag_player", args)


if __name__ == "__main__":
    sys.exit(main())
