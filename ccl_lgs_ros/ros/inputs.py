# SPDX-License-Identifier: Apache-2.0
"""Topics that a node listens to, found by who publishes them: raw or compressed, whatever type fits."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind

from ccl_lgs_ros.ros.clock_check import check_clock
from ccl_lgs_ros.ros.guards import guarded, shortened
from ccl_lgs_ros.ros.qos import with_overrides


class Input:
    """One kind of message that is wanted, from the first of some topics that has a publisher of a fitting type.

    The subscription is made when that publisher appears, so that its type needs no option.

    Args:
        node: subscribes.
        role: what the messages are, in words.
        names: topics, the preferred first; made absolute by namespace and remapping.
        types: message classes by ROS type name.
        receive: called with a message and its topic.
        qos: of the subscription.
        parameter: names the topic; '' = none does.
    """

    def __init__(
        self,
        node: Node,
        role: str,
        names: Sequence[str],
        types: Mapping[str, type],
        receive: Callable[[Any, str], None],
        qos: QoSProfile,
        parameter: str = "",
    ) -> None:
        self.role = role
        self.parameter = parameter
        self.topics = [node.resolve_topic_name(name) for name in names]
        self.topic = ""  # the one that is subscribed to
        self.count = 0
        self.last = 0.0  # time.monotonic of the newest message
        self.types, self.qos = types, qos
        self._node, self._receive = node, receive
        self._warned: set[str] = set()

    def look(self) -> None:
        """Subscribe if somebody publishes by now."""
        if self.topic:
            return
        for topic in self.topics:
            for kind in _kinds(self._node, topic):
                if kind in self.types:
                    self._subscribe(topic, self.types[kind])
                    return
                self._warn_once(f"{topic} has messages of type {kind}; the {self.role} must be {self._wanted}")

    def description(self) -> str:
        """The topic, who publishes it and what came, for a person."""
        topics = [self.topic] if self.topic else self.topics
        counts = [f"{topic} ({_publishers(self._node, topic)})" for topic in topics]
        text = f"{self.role}: {' or '.join(counts)}"
        if self.topic and not self.count:
            return f"{text}, subscribed, but nothing came: the publisher is silent or its QoS does not fit"
        return f"{text}, {self.count} messages"

    def _subscribe(self, topic: str, kind: type) -> None:
        self._node.create_subscription(
            kind,
            topic,
            guarded(self._node.get_logger(), f"a message on {topic}", self._take),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            **with_overrides(self.qos),
        )
        self.topic = topic

    def _take(self, message: Any) -> None:
        self.count += 1
        self.last = time.monotonic()
        if self.count == 1:
            self._node.get_logger().info(shortened(f"first {self.role} from {self.topic}{_shape(message)}"))
        check_clock(self._node, self.role, message)
        self._receive(message, self.topic)

    def _on_incompatible_qos(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._warn_once(
            f"the publisher of {self.topic} offers another {policy} than is asked for, so nothing arrives; "
            "set qos:=sensor_data, or make the publisher reliable"
        )

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._node.get_logger().warning(text)

    @property
    def _wanted(self) -> str:
        return " or ".join(self.types)


def topics_of_types(node: Node, types: Sequence[str]) -> Iterator[str]:
    """The topics on the graph that have one of the types and a publisher."""
    for topic, kinds in node.get_topic_names_and_types():
        if any(kind in types for kind in kinds) and node.count_publishers(topic):
            yield topic


def _kinds(node: Node, topic: str) -> list[str]:
    return sorted({info.topic_type for info in node.get_publishers_info_by_topic(topic)})


def _publishers(node: Node, topic: str) -> str:
    count = node.count_publishers(topic)
    return f"{count} publisher{'' if count == 1 else 's'}"


def _shape(message: Any) -> str:
    frame = f" in frame '{message.header.frame_id}'" if hasattr(message, "header") else ""
    if hasattr(message, "encoding"):
        return f": {message.width}x{message.height} {message.encoding}{frame}"
    return f": {message.format}{frame}" if hasattr(message, "format") else frame
