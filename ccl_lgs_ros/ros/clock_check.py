# SPDX-License-Identifier: Apache-2.0
"""Do the stamps of messages and the node's clock belong to one time? Where they do not, what to set."""

from typing import Any

from rclpy.node import Node

MAX_GAP = 10.0  # seconds between a stamp and now, beyond which one of the two clocks is another's
NS_PER_S = 1_000_000_000
UNITS = ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


def check_clock(node: Node, role: str, message: Any) -> None:
    """Warn, once in a node's life, where a message that has just come and the node's clock are of two times.

    Args:
        node: whose clock, and who warns.
        role: what the message is, in words.
        message: one without a header or a stamp is passed over.
    """
    stamp = message.header.stamp if hasattr(message, "header") else None
    if stamp is None or not (stamp.sec or stamp.nanosec):
        return
    now_ns, use_sim_time = node.get_clock().now().nanoseconds, node.get_parameter("use_sim_time").value
    advice = clock_advice(stamp.sec * NS_PER_S + stamp.nanosec, now_ns, use_sim_time=use_sim_time)
    if advice:
        node.get_logger().warning(f"{role}: {advice}", once=True)


def clock_advice(stamp_ns: int, now_ns: int, *, use_sim_time: bool) -> str:
    """One sentence that names the mistake and its fix; empty where there is none.

    Args:
        stamp_ns: of a message that has just come.
        now_ns: what the node's clock says.
        use_sim_time: whether that clock is /clock.
    """
    if use_sim_time and not now_ns:
        return (
            "use_sim_time is true but nothing comes on /clock; play the recording with --clock, or set "
            "use_sim_time:=false for a live camera"
        )
    gap = (now_ns - stamp_ns) / NS_PER_S
    if abs(gap) <= MAX_GAP:
        return ""
    text = f"stamped {_duration(gap)} {'before' if gap > 0 else 'after'} now"
    if use_sim_time:
        return f"{text} as /clock has it: two recordings, or a live camera beside one; set use_sim_time:=false for that"
    return (
        f"{text}: for a recording that is played, add --clock to the player and set use_sim_time:=true; for a live "
        "camera, synchronise the clocks of the computers (chrony, NTP)"
    )


def _duration(seconds: float) -> str:
    size, unit = next((u for u in UNITS if abs(seconds) >= 2 * u[0]), UNITS[-1])
    return f"{abs(seconds) / size:.0f} {unit}"
