# SPDX-License-Identifier: Apache-2.0
"""Takes over the keyframes that another host sends, into the map directory of this one.

Listens to `keyframe_piece`, publishes `keyframe_ack`; see docs/two_hosts.md. Pieces are put together as they come;
whole parcels go to the disk in a thread of their own and are acknowledged when they are safe there.
"""

import logging
import re
import threading
from collections import OrderedDict

from rclpy.node import Node

from ccl_lgs_ros.msg import KeyframeAck, KeyframePiece
from ccl_lgs_ros.ros.guards import guarded, sentence
from ccl_lgs_ros.ros.keyframe_parcel import taken, unpacked
from ccl_lgs_ros.ros.keyframe_sender import ACKS, LINK, PIECES
from ccl_lgs_ros.ros.piece_receiver import PieceReceiver
from ccl_lgs_ros.ros.piece_sender import Piece
from ccl_lgs_ros.ros.qos import with_overrides
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.received import ReceivedLines

logger = logging.getLogger(__name__)

MAX_SOURCES = 4  # maps whose parcels are put together at a time; the one heard of longest ago begins again
MAP_ID = re.compile(r"[0-9a-f]{32}")
RETRY_PERIOD = 2.0  # seconds before the disk is tried again
STOP_TIMEOUT = 2.0  # seconds


class KeyframeReceiver:
    """Appends to a map what comes from others; holds its "keyframes" lock until it is closed.

    Args:
        node: publishes and listens.
        map_path: of the map; made if there is none.
        max_disk_gb: gigabytes that its keyframes may take.

    Raises:
        MapError: if another process writes the map's keyframes, or the place cannot be written.
    """

    def __init__(self, node: Node, map_path: str, max_disk_gb: float) -> None:
        self._node = node
        self._directory = MapDirectory.open_or_create(map_path)
        self._lines = ReceivedLines(self._directory)
        self._store = KeyframeStore(self._directory, writable=True, max_disk_gb=max_disk_gb)
        self.trouble = ""  # why nothing is stored at present, one sentence
        self._num_refused = 0  # parcels that made no sense
        self._sources: OrderedDict[str, PieceReceiver] = OrderedDict()  # the one heard of last is the last
        self._news = threading.Condition()  # guards the sources
        self._is_stopped = False
        self._publisher = node.create_publisher(KeyframeAck, ACKS, **with_overrides(LINK))
        receive = guarded(node.get_logger(), "a keyframe that was sent", self._receive)
        self._subscription = node.create_subscription(KeyframePiece, PIECES, receive, **with_overrides(LINK))
        self._thread = threading.Thread(target=self._run, name="keyframe receiver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what is being written and let another writer in; what is not acknowledged will be sent again."""
        with self._news:
            self._is_stopped = True
            self._news.notify_all()
        self._thread.join(STOP_TIMEOUT)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)
        try:
            self._store.close()
        finally:
            self._directory.release()

    def _receive(self, message: KeyframePiece) -> None:
        piece = Piece(message.sequence, message.parcel, message.index, message.count, bytes(message.data))
        with self._news:
            receiver = self._receiver_of(message.source)
            if receiver is None or not receiver.add(message.session, piece, message.crc):
                return
            ack = self._ack(message.source, receiver)
            if receiver.has_whole:
                self._news.notify_all()
        self._publisher.publish(ack)

    def _receiver_of(self, source: str) -> PieceReceiver | None:
        if source not in self._sources:
            if not MAP_ID.fullmatch(source):
                return None
            self._sources[source] = PieceReceiver(self._lines[source])
            logger.info("keyframes of the map %s come from another host; %s are here", source, self._lines[source])
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return self._sources[source]

    def _ack(self, source: str, receiver: PieceReceiver) -> KeyframeAck:
        return KeyframeAck(
            source=source,
            session=receiver.sender or 0,
            receiver=receiver.session,
            stored=receiver.stored,
            received=list(receiver.received),
            message=self.trouble,
        )

    def _run(self) -> None:
        while True:
            with self._news:
                found = self._next_parcel()
                while found is None and not self._is_stopped:
                    self._news.wait()
                    found = self._next_parcel()
                if self._is_stopped:
                    return
            assert found is not None
            self._take(*found)

    def _next_parcel(self) -> tuple[str, PieceReceiver, bytes] | None:
        for source, receiver in self._sources.items():
            if receiver.has_whole:
                return source, receiver, receiver.whole()
        return None

    def _take(self, source: str, receiver: PieceReceiver, content: bytes) -> None:
        """Store a parcel and tell its sender; where the disk does not take it, say so and wait a while."""
        try:
            self._store_parcel(content)
            self._lines.put(source, receiver.stored + 1)
        except Exception as error:
            if sentence(error) != self.trouble:
                logger.error("keyframes that another host sends are not stored: %s", sentence(error))
            self.trouble = sentence(error)
            with self._news:
                self._news.wait_for(lambda: self._is_stopped, RETRY_PERIOD)
            return
        self.trouble = ""
        with self._news:
            receiver.advance()
            ack = self._ack(source, receiver)
        self._publisher.publish(ack)

    def _store_parcel(self, content: bytes) -> None:
        try:
            taken(self._store, unpacked(content))
        except ValueError as error:  # it came as it was sent, so that it would not be better the next time
            self._num_refused += 1
            if self._num_refused.bit_count() == 1:  # ever more seldom
                logger.warning("a keyframe that another host sent is left out, %s so far: %s", self._num_refused, error)
