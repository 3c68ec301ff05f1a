# SPDX-License-Identifier: Apache-2.0
"""Which piece of which parcel is sent when, over a link that loses, repeats and reorders. Nothing here knows ROS.

The sender remembers nothing beyond its session: the receiver says what it has on its disk, and sending begins there.
Parcels are cut into pieces; every sending of a piece has a sequence number of its own, so that each confirmation tells
how long the link took. While nobody confirms, only questions are sent.
"""

import math
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ccl_lgs_ros.ros.pacing import Pacing

PIECE_BYTES = 8192  # six packets of Ethernet; the loss of one costs the piece
MAX_AHEAD = 8  # parcels that are sent before the first of them is stored
MAX_PARCEL_BYTES = 16 << 20
QUESTION_PERIOD = 0.5  # seconds between questions while there is nothing else to send
SILENCE = 3.0  # seconds without confirmation after which the link counts as broken
RENEWAL = 20.0  # seconds without confirmation after which a new session begins, should the receiver refuse the old one
KEPT_SESSIONS = 16  # former receivers whose late confirmations are passed over
KEPT_LATE = 1024  # pieces that were given up and may be confirmed yet


@dataclass(frozen=True, slots=True)
class Piece:
    """What is sent: a piece of a parcel, or a question, whose count is 0."""

    sequence: int
    parcel: int
    index: int = 0
    count: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a receiver says: which parcels it has stored, which of the newest pieces came."""

    receiver: int  # its session
    stored: int
    received: Sequence[int]


class _Place(NamedTuple):
    parcel: int
    index: int


@dataclass(frozen=True, slots=True)
class _Sent:
    place: _Place
    at: float


class PieceSender:
    """Sends parcels in order, each until it is confirmed; the time is given by the caller, in seconds of any clock.

    Args:
        read: the content of a parcel by its number, at most MAX_PARCEL_BYTES.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.session = secrets.randbits(63)
        self._session_since = math.inf  # until the first question
        self.stored = 0  # parcels that the receiver has on its disk
        self.heard_at = -math.inf  # when it last confirmed anything
        self.is_connected = False
        self._read = read
        self._receiver: int | None = None
        self._former: deque[int] = deque(maxlen=KEPT_SESSIONS)
        self._pacing = Pacing()
        self._parcels: dict[int, list[bytes]] = {}  # not stored yet, cut into pieces
        self._waiting: deque[_Place] = deque()
        self._held: set[_Place] = set()  # by the receiver
        self._under_way: dict[int, _Sent] = {}  # by sequence, oldest first
        self._late: dict[int, _Sent] = {}  # given up; else a link that becomes slow would never be measured
        self._sequence = 0
        self._sent_at = -math.inf

    def due(self, num_parcels: int, now: float) -> list[Piece]:
        """What to send now, of so many parcels that there are."""
        if self.is_connected and now - self.heard_at > SILENCE:
            self.is_connected = False
            self._former.clear()  # whoever answers now is alive
            self._take_back(len(self._under_way))
        self._renew(now)
        if self.is_connected:
            self._take_back_late(now)
        pieces = self._next_pieces(num_parcels) if self.is_connected else []
        if not pieces and not self._under_way and now - self._sent_at >= QUESTION_PERIOD:
            pieces = [Piece(self._next_sequence(), self.stored)]
        for piece in pieces:
            if piece.count:
                self._under_way[piece.sequence] = _Sent(_Place(piece.parcel, piece.index), now)
        if pieces:
            self._sent_at = now
        return pieces

    def confirm(self, confirmation: Confirmation, now: float) -> None:
        """Take notice of what arrived; confirmations may be lost, late and out of order."""
        if confirmation.receiver in self._former:
            return
        if confirmation.receiver != self._receiver:
            self._begin(confirmation)
        if not self.is_connected:
            self.is_connected, self._pacing = True, Pacing()
        self.heard_at = now
        popped = (self._under_way.pop(s, None) or self._late.pop(s, None) for s in confirmation.received)
        confirmed = [sent for sent in popped if sent is not None]
        if confirmed:
            self._held.update(sent.place for sent in confirmed)
            self._pacing.confirm(len(confirmed), now - max(sent.at for sent in confirmed), now)
        if confirmation.stored > self.stored:
            self._forget_before(confirmation.stored)

    def _renew(self, now: float) -> None:
        """Begin a new session after a long silence: a stranger may have taken our place at the receiver."""
        self._session_since = min(self._session_since, now)
        if now - max(self.heard_at, self._session_since) > RENEWAL:
            self.session, self._session_since = secrets.randbits(63), now
            self._forget_all()

    def _begin(self, confirmation: Confirmation) -> None:
        """Another receiver, or one that has restarted: it holds what is on its disk and nothing else."""
        if self._receiver is not None:
            self._former.append(self._receiver)
        self._receiver, self.stored = confirmation.receiver, confirmation.stored
        self._forget_all()

    def _forget_all(self) -> None:
        for known in (self._parcels, self._waiting, self._held, self._under_way, self._late):
            known.clear()

    def _forget_before(self, stored: int) -> None:
        self.stored = stored
        self._parcels = {number: pieces for number, pieces in self._parcels.items() if number >= stored}
        self._waiting = deque(place for place in self._waiting if place.parcel >= stored)
        self._held = {place for place in self._held if place.parcel >= stored}
        self._under_way = {s: sent for s, sent in self._under_way.items() if sent.place.parcel >= stored}

    def _take_back_late(self, now: float) -> None:
        late = [sent.at for sent in self._under_way.values() if now - sent.at > self._pacing.timeout]
        if late:
            self._pacing.lose(len(late), self.heard_at < late[0], now)
            self._take_back(len(late))

    def _take_back(self, count: int) -> None:
        """The oldest pieces under way count as lost: they are the next to be sent."""
        for sequence in list(self._under_way)[:count][::-1]:
            sent = self._late[sequence] = self._under_way.pop(sequence)
            self._waiting.appendleft(sent.place)
        for sequence in list(self._late)[:-KEPT_LATE]:
            del self._late[sequence]

    def _next_pieces(self, num_parcels: int) -> list[Piece]:
        pieces: list[Piece] = []
        while len(self._under_way) + len(pieces) < int(self._pacing.window) and self._fill(num_parcels):
            place = self._waiting.popleft()
            if place not in self._held:
                cut = self._parcels[place.parcel]
                pieces.append(Piece(self._next_sequence(), *place, len(cut), cut[place.index]))
        return pieces

    def _fill(self, num_parcels: int) -> bool:
        """Cut up the next parcel where no piece waits; whether one does now."""
        number = max(self._parcels, default=self.stored - 1) + 1
        if not self._waiting and number < min(num_parcels, self.stored + MAX_AHEAD):
            content = self._read(number)
            cut = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
            self._parcels[number] = cut
            self._waiting.extend(_Place(number, index) for index in range(len(cut)))
        return bool(self._waiting)

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) % 2**32
        return self._sequence
