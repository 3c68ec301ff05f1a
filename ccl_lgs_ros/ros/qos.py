# SPDX-License-Identifier: Apache-2.0
"""The quality of service of our topics; `qos_overrides.*` parameters change it for each of them."""

from copy import copy
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_profile_system_default
from rclpy.qos_overriding_options import QoSOverridingOptions

LIVE_DEPTH = 5  # messages that a best-effort camera may be ahead
RELIABLE_DEPTH = 100
CHOICES = ("sensor_data", "reliable", "system_default")  # of the parameter `qos`

LAST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
RELIABLE = QoSProfile(depth=RELIABLE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
STATIC = QoSProfile(
    depth=RELIABLE_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def sensor_qos(choice: str, depth: int = LIVE_DEPTH) -> QoSProfile:
    """What images are listened to with, by the parameter `qos`."""
    if choice == "reliable":
        return RELIABLE
    if choice == "system_default":
        return qos_profile_system_default
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def with_overrides(qos: QoSProfile) -> dict[str, Any]:
    """Arguments of create_publisher and create_subscription that let the user change the QoS of this one topic.

    By the parameters `qos_overrides.<topic>.<publisher or subscription>.<policy>`. The profile is copied, as rclpy
    writes what is overridden into the one that it is given.
    """
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return {"qos_profile": copy(qos), "qos_overriding_options": QoSOverridingOptions(policy_kinds=kinds)}
