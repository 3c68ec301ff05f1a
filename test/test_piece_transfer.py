# SPDX-License-Identifier: Apache-2.0
"""Parcels cross a link that loses, repeats, delays and reorders, simulated in its own time: the same everywhere."""

import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lossy_link import Link

from ccl_lgs_ros.ros.piece_receiver import CONFIRMED, PieceReceiver
from ccl_lgs_ros.ros.piece_sender import (
    MAX_AHEAD,
    PIECE_BYTES,
    QUESTION_PERIOD,
    RENEWAL,
    Confirmation,
    Piece,
    PieceSender,
)

OVERHEAD = 100  # bytes of a message beside its piece
STEP = 0.01  # seconds of simulated time
SMALL = st.integers(0, 4)
STORE_TIME = 0.03  # seconds that the receiver's disk takes for a parcel


class Transfer:
    """A sender, a receiver with a disk, and the links between them."""

    def __init__(self, parcels: list[bytes], forth: Link, back: Link) -> None:
        self.parcels, self.forth, self.back = parcels, forth, back
        self.disk: list[bytes] = []
        self.now = 0.0
        self.is_disk_full = False
        self.start_sender()
        self.start_receiver()

    def start_sender(self) -> None:
        self.sender = PieceSender(lambda number: self.parcels[number])

    def start_receiver(self) -> None:
        self.receiver = PieceReceiver(len(self.disk))
        self._disk_free_at = self.now

    def run(self, until: float) -> None:
        """Go on until everything is stored and known to be, or for that time."""
        while self.now < until and self.sender.stored < len(self.parcels):
            self.now += STEP
            for session, answer in self.back.arrived(self.now):
                if session == self.sender.session:
                    self.sender.confirm(answer, self.now)
            for piece in self.sender.due(len(self.parcels), self.now):
                self.forth.send((self.sender.session, piece), len(piece.data) + OVERHEAD, self.now)
            for session, piece in self.forth.arrived(self.now):
                if self.receiver.add(session, piece, zlib.crc32(piece.data)):
                    self._answer()
            self._store()

    def _answer(self) -> None:
        answer = Confirmation(self.receiver.session, self.receiver.stored, list(self.receiver.received))
        self.back.send((self.receiver.sender, answer), OVERHEAD, self.now)

    def _store(self) -> None:
        if self.receiver.has_whole and not self.is_disk_full and self.now >= self._disk_free_at:
            self.disk.append(self.receiver.whole())
            self.receiver.advance()
            self._disk_free_at = self.now + STORE_TIME
            self._answer()


def parcels(count: int, size: int) -> list[bytes]:
    generator = random.Random(count)
    return [generator.randbytes(size + number) for number in range(count)]


def test_a_slow_link_that_loses_a_third_is_used_well_and_never_flooded() -> None:
    content = parcels(20, 250_000)
    chance = random.Random(1)
    forth = Link(chance, loss=0.3, repeats=0.1, delay=0.05, jitter=0.02, rate=500_000)
    transfer = Transfer(content, forth, Link(chance, loss=0.3, repeats=0.1, delay=0.05, jitter=0.02))
    transfer.run(200)
    assert transfer.disk == content
    assert forth.sent < 1.6 * sum(map(len, content)), "lost at random: 1 / 0.7 = 1.43 times is the least"
    assert transfer.now < 1.5 * (forth.sent / forth.rate), "the link is at work most of the time"
    assert forth.queue < 0.5, "others' messages do not wait long"


def test_a_link_without_loss_is_filled_and_nothing_is_sent_twice() -> None:
    content = parcels(40, 250_000)
    forth = Link(random.Random(2), delay=0.005, rate=5_000_000)
    transfer = Transfer(content, forth, Link(random.Random(3), delay=0.005))
    transfer.run(60)
    assert transfer.disk == content
    assert forth.sent < 1.05 * sum(map(len, content))
    assert transfer.now < 2.0 * forth.sent / forth.rate


def test_a_link_that_drops_what_it_cannot_queue_still_brings_everything() -> None:
    content = parcels(10, 100_000)
    forth = Link(random.Random(4), delay=0.01, rate=100_000, room=4 * PIECE_BYTES)
    transfer = Transfer(content, forth, Link(random.Random(5), delay=0.01))
    transfer.run(120)
    assert transfer.disk == content
    assert forth.sent < 2.5 * sum(map(len, content))


def test_a_link_that_becomes_slow_is_measured_anew() -> None:
    content = parcels(20, 100_000)
    forth, back = (Link(random.Random(seed), delay=0.005) for seed in (6, 7))
    transfer = Transfer(content, forth, back)
    transfer.run(0.3)
    assert 0 < transfer.sender.stored < len(content)
    forth.delay = back.delay = 0.6
    transfer.run(120)
    assert transfer.disk == content
    assert forth.sent < 1.5 * sum(map(len, content))


def test_a_broken_link_costs_questions_alone_and_is_taken_up_where_it_broke() -> None:
    content = parcels(30, 250_000)
    forth, back = (Link(random.Random(seed), delay=0.01, rate=1_000_000) for seed in (8, 9))
    transfer = Transfer(content, forth, back)
    transfer.run(3.0)
    sent, stored = forth.sent, transfer.sender.stored
    assert stored > 3
    forth.loss = 1.0
    transfer.run(63.0)
    assert not transfer.sender.is_connected
    asked = 60 / QUESTION_PERIOD * OVERHEAD
    assert forth.sent - sent < 0.05 * sum(map(len, content)) + asked, "a few windows of pieces, then questions"
    forth.loss = 0.0
    transfer.run(120)
    assert transfer.disk == content
    assert forth.sent < 1.1 * sum(map(len, content)) + asked


def test_a_full_disk_makes_the_sender_wait_with_little_in_the_air() -> None:
    content = parcels(30, 50_000)
    forth = Link(random.Random(10))
    transfer = Transfer(content, forth, Link(random.Random(11)))
    transfer.is_disk_full = True
    transfer.run(60.0)
    assert transfer.disk == [] and transfer.sender.is_connected
    assert forth.sent < (MAX_AHEAD + 1) * 50_000 + 60 / QUESTION_PERIOD * OVERHEAD
    transfer.is_disk_full = False
    transfer.run(70.0)
    assert transfer.disk == content


def test_both_sides_may_be_killed_at_any_time() -> None:
    content = parcels(30, 60_000)
    chance = random.Random(12)
    links = [Link(chance, loss=0.2, repeats=0.2, delay=0.02, jitter=0.2, rate=1_000_000) for _ in range(2)]
    transfer = Transfer(content, *links)
    while transfer.sender.stored < len(content):
        assert transfer.now < 600
        transfer.run(transfer.now + chance.uniform(0.05, 1.5))
        (transfer.start_sender if chance.random() < 0.5 else transfer.start_receiver)()
    assert transfer.disk == content


def test_a_stranger_that_takes_our_place_does_not_keep_it() -> None:
    content = parcels(20, 50_000)
    transfer = Transfer(content, Link(random.Random(15), rate=1_000_000), Link(random.Random(16)))
    transfer.run(0.5)
    assert 0 < transfer.sender.stored < len(content)
    assert transfer.receiver.add(1, Piece(1, 0), 0)
    transfer.run(RENEWAL - 1.0)
    assert not transfer.sender.is_connected
    transfer.run(60)
    assert transfer.disk == content


def test_a_map_that_was_begun_anew_there_gets_everything_again() -> None:
    content = parcels(5, 20_000)
    transfer = Transfer(content, Link(random.Random(13)), Link(random.Random(14)))
    transfer.run(30)
    assert transfer.disk == content
    transfer.disk.clear()
    transfer.start_receiver()
    content.append(b"one more")
    while len(transfer.disk) < len(content):
        assert transfer.now < 60
        transfer.run(transfer.now + 1.0)
        transfer.sender.due(len(content), transfer.now)
    assert transfer.disk == content


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
    loss=st.floats(0, 0.6),
    jitter=st.floats(0, 0.5),
    rate=st.sampled_from([50_000, 1_000_000, 1e9]),
)
def test_whatever_the_link_does_everything_arrives_in_order(sizes, seed, loss, jitter, rate) -> None:
    chance = random.Random(seed)
    content = [chance.randbytes(size) for size in sizes]
    links = [Link(chance, loss=loss, repeats=0.2, jitter=jitter, rate=rate) for _ in range(2)]
    transfer = Transfer(content, *links)
    transfer.run(600)
    assert transfer.disk == content


@pytest.mark.parametrize(
    "piece",
    [
        Piece(1, 0, 0, 2, b""),
        Piece(1, 0, 0, 2, bytes(PIECE_BYTES + 1)),
        Piece(1, 0, 2, 2, b"x"),
        Piece(1, 0, 0, 2**32 - 1, b"x"),
        Piece(1, MAX_AHEAD, 0, 1, b"x"),
        Piece(1, 0, 0, 3, b"x"),
    ],
    ids=["empty", "too long", "beyond its parcel", "of too many", "too far ahead", "of another count"],
)
def test_a_piece_that_no_sender_of_ours_sends_is_not_confirmed(piece: Piece) -> None:
    receiver = PieceReceiver(0)
    assert receiver.add(1, Piece(0, 0, 1, 2, b"fits"), zlib.crc32(b"fits"))
    assert not receiver.add(1, piece, zlib.crc32(piece.data))
    assert list(receiver.received) == [0] and not receiver.has_whole


def test_a_piece_that_was_damaged_on_the_way_counts_as_lost() -> None:
    receiver = PieceReceiver(0)
    assert not receiver.add(1, Piece(1, 0, 0, 1, b"damaged"), zlib.crc32(b"whole"))
    assert receiver.add(1, Piece(2, 0, 0, 1, b"whole"), zlib.crc32(b"whole"))
    assert receiver.whole() == b"whole"


def test_pieces_of_a_sender_that_has_restarted_are_not_mixed_with_its_new_ones() -> None:
    receiver = PieceReceiver(0)
    receiver.add(1, Piece(1, 0, 0, 2, b"old"), zlib.crc32(b"old"))
    receiver.add(2, Piece(1, 0, 1, 2, b"new"), zlib.crc32(b"new"))
    assert not receiver.add(1, Piece(2, 0, 1, 2, b"late"), zlib.crc32(b"late"))
    assert not receiver.has_whole and list(receiver.received) == [1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 12), st.integers(0, 4), st.integers(0, 4), st.booleans()),
        max_size=60,
    )
)
def test_whatever_comes_is_held_within_bounds(pieces: list[tuple]) -> None:
    receiver = PieceReceiver(2)
    for sequence, (sender, parcel, index, count, is_intact) in enumerate(pieces):
        receiver.add(sender, Piece(sequence, parcel, index, count, b"x"), zlib.crc32(b"x") + (not is_intact))
        if receiver.has_whole:
            assert set(receiver.whole()) == {ord("x")}
            receiver.advance()
    held = receiver._partials
    assert all(receiver.stored <= number < receiver.stored + MAX_AHEAD for number in held)
    assert all(set(partial.pieces) <= set(range(partial.count)) for partial in held.values())
    assert len(receiver.received) <= CONFIRMED
