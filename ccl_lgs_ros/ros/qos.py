# SPDX-License-Identifier: Apache-2.0
"""The quality of service of our topics; `qos_overrides.*` parameters change it for each of them."""

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


def overridable() -> QoSOverridingOptions:
    """Lets the user set `qos_overrides.<topic>.<publisher or subscription>.<policy>`."""
    return QoSOverridingOptions(
        policy_kinds=(
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        )
    )
