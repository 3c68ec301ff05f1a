# SPDX-License-Identifier: Apache-2.0
"""Puts together the parcels that a sender cuts into pieces; within limits, whatever comes. Nothing here knows ROS."""

import secrets
import zlib
from collections import deque
from dataclasses import dataclass, field

from ccl_lgs_ros.ros.piece_sender import KEPT_SESSIONS, MAX_AHEAD, MAX_PARCEL_BYTES, PIECE_BYTES, Piece

CONFIRMED = 32  # pieces that each confirmation names, so that most confirmations may be lost
MAX_PIECES = MAX_PARCEL_BYTES // PIECE_BYTES


@dataclass(slots=True)
class _Partial:
    count: int
    pieces: dict[int, bytes] = field(default_factory=dict)


class PieceReceiver:
    """The parcels of one source that are under way; at most MAX_AHEAD of them, of MAX_PARCEL_BYTES each.

    Args:
        stored: how many are stored already.
    """

    def __init__(self, stored: int) -> None:
        self.stored = stored
        self.session = secrets.randbits(63)
        self.sender: int | None = None  # session of the sender
        self.received: deque[int] = deque(maxlen=CONFIRMED)  # sequences
        self._former: deque[int] = deque(maxlen=KEPT_SESSIONS)
        self._partials: dict[int, _Partial] = {}

    def add(self, sender: int, piece: Piece, crc: int) -> bool:
        """Take a piece, or a question; whether it deserves a confirmation."""
        if sender in self._former:
            return False
        if sender != self.sender:
            self._begin(sender)
        if piece.count == 0:
            return True
        if zlib.crc32(piece.data) != crc or not self._is_acceptable(piece):
            return False
        if piece.parcel >= self.stored:
            partial = self._partials.setdefault(piece.parcel, _Partial(piece.count))
            if partial.count != piece.count:
                return False
            partial.pieces[piece.index] = piece.data
        self.received.append(piece.sequence)
        return True

    @property
    def has_whole(self) -> bool:
        """Whether all of the parcel is there that comes after those that are stored."""
        partial = self._partials.get(self.stored)
        return partial is not None and len(partial.pieces) == partial.count

    def whole(self) -> bytes:
        """That parcel."""
        partial = self._partials[self.stored]
        return b"".join(partial.pieces[index] for index in range(partial.count))

    def advance(self) -> None:
        """That parcel is stored."""
        self._partials.pop(self.stored, None)
        self.stored += 1

    def _begin(self, sender: int) -> None:
        """The sender has restarted; it knows nothing of the pieces that came before."""
        if self.sender is not None:
            self._former.append(self.sender)
        self.sender = sender
        self.received.clear()
        self._partials.clear()

    def _is_acceptable(self, piece: Piece) -> bool:
        is_piece = piece.index < piece.count <= MAX_PIECES and 0 < len(piece.data) <= PIECE_BYTES
        return is_piece and piece.parcel < self.stored + MAX_AHEAD
