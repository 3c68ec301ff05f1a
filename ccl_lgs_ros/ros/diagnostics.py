# SPDX-License-Identifier: Apache-2.0
"""A node's report as the diagnostics that robot monitors collect."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ccl_lgs_ros.msg import MapStatus

TOPIC = "/diagnostics"
STATES = {
    getattr(MapStatus, name): name.removeprefix("STATE_").lower().replace("_", " ")
    for name in dir(MapStatus)
    if name.startswith("STATE_")
}
ALWAYS_SHOWN = ("map_path", "map_version", "keyframes")
# Frames that were lost: not those that were looked at and left out, which is how keyframes are chosen.
LOST = ("frames_dropped_tf", "frames_dropped_sync", "frames_dropped_queue", "frames_rejected_format")
LOST_SHARE = 0.2  # of what arrived; more than this is worth a warning
MIN_FRAMES = 30  # before that the first frames without tf would be an alarm


def diagnostics_of(status: MapStatus, node: str) -> DiagnosticArray:
    """One DiagnosticStatus for a node of that full name: its state in a sentence, its counts as values.

    An error is one; lost frames beyond LOST_SHARE of all are a warning.
    """
    lost = {name: getattr(status, name) for name in LOST}
    level, message = DiagnosticStatus.OK, STATES.get(status.state, "unknown")
    if status.state == MapStatus.STATE_ERROR:
        level = DiagnosticStatus.ERROR
    elif status.frames_received >= MIN_FRAMES and sum(lost.values()) > LOST_SHARE * status.frames_received:
        worst = max(lost, key=lambda name: lost[name])
        level = DiagnosticStatus.WARN
        message += f"; {sum(lost.values())} of {status.frames_received} frames lost, most by {worst}"
    if status.message:
        message += f": {status.message}"
    fields = [
        name for name in status.get_fields_and_field_types() if name not in ("header", "state", "message", "node")
    ]
    values = [
        KeyValue(key=name, value=str(getattr(status, name)))
        for name in fields
        if name in ALWAYS_SHOWN or _is_telling(getattr(status, name))
    ]
    report = DiagnosticStatus(
        level=level, name=f"{node.lstrip('/')}: map", message=message, hardware_id=status.map_id, values=values
    )
    array = DiagnosticArray(status=[report])
    array.header.stamp = status.header.stamp
    return array


def _is_telling(value: object) -> bool:
    """Whether a field says something: not empty, not zero, not NaN, not -1 for unknown."""
    return bool(value) and value == value and value != -1.0
