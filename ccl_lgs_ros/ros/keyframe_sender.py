# SPDX-License-Identifier: Apache-2.0
"""Sends the stored keyframes of a map to another host, in a thread of its own, as fast as they are acknowledged.

Publishes `keyframe_piece`, listens to `keyframe_ack`; see docs/two_hosts.md.
"""

import logging
import math
import threading
import time
import zlib
from queue import Empty, SimpleQueue
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.msg import KeyframeAck, KeyframePiece
from ccl_lgs_ros.ros.guards import sentence
from ccl_lgs_ros.ros.keyframe_parcel import NOTHING, packed
from ccl_lgs_ros.ros.piece_sender import MAX_PARCEL_BYTES, Confirmation, Piece, PieceSender
from ccl_lgs_ros.ros.qos import with_overrides
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore

logger = logging.getLogger(__name__)

PIECES, ACKS = "keyframe_piece", "keyframe_ack"
# What is lost is sent again by our own rules, which wait for the disk of the other host, not for its memory.
LINK = QoSProfile(depth=256, reliability=ReliabilityPolicy.BEST_EFFORT)
PERIOD = 0.05  # seconds between looks for what is late or new
ANSWER_TIMEOUT = 5.0  # seconds without an acknowledgement that are worth a sentence
WARN_PERIOD = 30.0  # seconds between warnings
STOP_TIMEOUT = 1.0  # seconds


class KeyframeSender:
    """Everything in the store that the other host does not have yet, and what will come.

    Args:
        node: publishes and listens.
        store: of the map; what it has acknowledged is sent.
        source: the map's id.
    """

    def __init__(self, node: Node, store: KeyframeStore, source: str) -> None:
        self._node, self._store, self._source = node, store, source
        self._sender = PieceSender(self._parcel)
        self._acks: SimpleQueue[KeyframeAck] = SimpleQueue()
        self._answer = ""  # what the other host complains of
        self._began = time.monotonic()
        self._warned_at = -math.inf
        self._stop = threading.Event()
        self._publisher = node.create_publisher(KeyframePiece, PIECES, **with_overrides(LINK))
        self._subscription = node.create_subscription(KeyframeAck, ACKS, self._acks.put, **with_overrides(LINK))
        self._thread = threading.Thread(target=self._run, name="keyframe sender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sending; what is not acknowledged is sent after the next start."""
        self._stop.set()
        self._thread.join(STOP_TIMEOUT)

    @property
    def num_waiting(self) -> int:
        """Keyframes, and corrections of poses, that the other host has not acknowledged."""
        return max(len(self._store.index) - self._sender.stored, 0)

    @property
    def trouble(self) -> str:
        """Why nothing is acknowledged and what to do about it, one sentence; '' where all is well."""
        num_here, num_there = len(self._store.index), self._sender.stored
        if num_there > num_here:
            return (
                f"the other host has more of this map than there is here ({num_there} lines of its journal, here "
                f"{num_here}), as after putting back an older copy, so nothing is sent; capture into a new map_path"
            )
        since = time.monotonic() - max(self._sender.heard_at, self._began)
        if since < ANSWER_TIMEOUT:
            return f"the other host stores no keyframes: {self._answer}" if self._answer else ""
        waiting = f"nobody acknowledges keyframes since {since:.0f} s, {self.num_waiting} wait here on the disk"
        topic = self._publisher.topic_name
        if not self._publisher.get_subscription_count():
            return (
                f"{waiting}; nobody listens to {topic}: start training_node with keyframe_transport:=topic on the "
                "other host, in the same namespace and ROS_DOMAIN_ID"
            )
        return f"{waiting}; {topic} is listened to, but no {self._subscription.topic_name} comes back: check the link"

    def add_to(self, report: dict[str, Any]) -> dict[str, Any]:
        """The fields of a MapStatus with what waits to be sent, and what keeps it from that if anything does."""
        trouble = self.trouble
        message = f"{trouble}. {report['message']}" if trouble else report["message"]
        return {**report, "keyframes_pending": self.num_waiting, "message": message}

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._take_acks()
                for piece in self._sender.due(len(self._store.index), time.monotonic()):
                    self._publisher.publish(self._message(piece))
                self._warn()
            except Exception as error:
                logger.error("keyframes are not sent: %s", sentence(error))
                self._stop.wait(ANSWER_TIMEOUT)

    def _take_acks(self) -> None:
        """Wait a moment for acknowledgements and look at all that came."""
        try:
            ack = self._acks.get(timeout=PERIOD)
            while True:
                self._confirm(ack)
                ack = self._acks.get_nowait()
        except Empty:
            return

    def _confirm(self, ack: KeyframeAck) -> None:
        if ack.source != self._source or ack.session != self._sender.session:
            return
        was_connected, is_first = self._sender.is_connected, self._sender.heard_at == -math.inf
        self._sender.confirm(Confirmation(ack.receiver, ack.stored, ack.received), time.monotonic())
        self._answer = ack.message
        if not was_connected and (is_first or self._warned_at > -math.inf):
            logger.info("the other host acknowledges keyframes; %s wait to be sent", self.num_waiting)

    def _parcel(self, number: int) -> bytes:
        try:
            content = packed(self._store, number)
        except MapError as error:
            logger.error("a keyframe cannot be sent and is left out: %s", error)
            return NOTHING
        if len(content) > MAX_PARCEL_BYTES:
            logger.error("a keyframe of %s bytes is left out: lower ingest.max_image_size", len(content))
            return NOTHING
        return content

    def _message(self, piece: Piece) -> KeyframePiece:
        message = KeyframePiece(
            source=self._source,
            session=self._sender.session,
            sequence=piece.sequence,
            parcel=piece.parcel,
            index=piece.index,
            count=piece.count,
            crc=zlib.crc32(piece.data),
        )
        message.data.frombytes(piece.data)
        return message

    def _warn(self) -> None:
        now, trouble = time.monotonic(), self.trouble
        if trouble and now - self._warned_at > WARN_PERIOD:
            self._warned_at = now
            logger.warning("%s", trouble)
        elif not trouble:
            self._warned_at = -math.inf
