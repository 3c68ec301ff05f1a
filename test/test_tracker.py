# SPDX-License-Identifier: Apache-2.0
"""The tracker, with a propagator that follows by script: every thing is a square whose place is written down."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ccl_lgs_ros.association.mask_overlap import areas, coincidence, intersections, iou, sampled
from ccl_lgs_ros.association.tracker import tracked
from ccl_lgs_ros.errors import Cancelled

SIZE = 32
SIDE = 6
GONE = None
NONE = -1

Place = tuple[int, int] | None  # row and column of a square's corner; None where it is not seen


class Film:
    """Squares that move; image pixels hold the number of their thing plus one, so that a propagator could look."""

    def __init__(
        self, things: Sequence[Sequence[Place]], order: Sequence[Sequence[int]] | None = None, size: int = SIZE
    ) -> None:
        self.things, self.size = things, size
        self.length = len(things[0])
        self.order = order  # per keyframe the things in the order of their segments; None = as they come
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int, /) -> np.ndarray:
        self.asked.append(index)
        truth = self.truth(index).numpy() + 1
        return np.repeat(truth[..., None], 3, axis=2).astype(np.uint8)

    def truth(self, index: int) -> Tensor:
        """The thing of each pixel, -1 none."""
        labels = torch.full((self.size, self.size), NONE, dtype=torch.int32)
        for number, places in enumerate(self.things):
            if places[index] is not None:
                row, column = places[index]
                labels[row : row + SIDE, column : column + SIDE] = number
        return labels

    def shown(self, index: int) -> list[int]:
        """The things that are seen, in the order of their segments."""
        seen = [n for n in torch.unique(self.truth(index)).tolist() if n != NONE]
        return [n for n in self.order[index] if n in seen] if self.order else seen

    def label_maps(self) -> list[Tensor]:
        maps = []
        for index in range(self.length):
            truth, labels = self.truth(index), torch.full((self.size, self.size), NONE, dtype=torch.int32)
            for segment, thing in enumerate(self.shown(index)):
                labels[truth == thing] = segment
            maps.append(labels)
        return maps

    def counts(self) -> list[int]:
        return [len(self.shown(index)) for index in range(self.length)]


class Follower:
    """Follows whatever thing fills most of a mask: perfectly, or until it is hidden once (`loses`).

    A propagator of images alone, as a real one is; it notes what it was asked.
    """

    def __init__(self, *, loses: bool = False) -> None:
        self.loses = loses
        self.calls: list[tuple[int, int, bool, int]] = []  # images, start, reverse, masks

    def propagate(self, images, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        self.calls.append((len(images), start, reverse, len(masks)))
        first = torch.as_tensor(images[start])[..., 0].long()
        things = torch.tensor([int(torch.bincount(first[mask]).argmax()) for mask in masks])
        alive = torch.ones(len(masks), dtype=torch.bool)
        for index in range(start, -1, -1) if reverse else range(start, len(images)):
            seen = torch.as_tensor(images[index])[..., 0].long()[None] == things[:, None, None]
            if self.loses:
                alive &= seen.flatten(1).any(dim=1)
                seen = seen & alive[:, None, None]
            yield index, seen


def run(film: Film, propagator: Follower | None = None, label_maps: list[Tensor] | None = None, **changes):
    options = {"match_iou": 0.5, "reseed": True, "backward": True, "window": 64, **changes}
    maps = film.label_maps() if label_maps is None else label_maps
    counts = [int(labels.max()) + 1 for labels in maps]
    return tracked(film, maps, counts, propagator or Follower(), **options)


def tracks_of_things(film: Film, tracks: list[Tensor]) -> dict[int, set[int]]:
    """The tracks that each thing's segments were given."""
    found: dict[int, set[int]] = {}
    for index, track in enumerate(tracks):
        for segment, thing in enumerate(film.shown(index)):
            found.setdefault(thing, set()).add(int(track[segment]))
    return found


# Two squares from the beginning, one that comes at keyframe 2 and goes at 4.
LATE = Film(
    [
        [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)],
        [(10, 20), (10, 19), (10, 18), (10, 17), (10, 16)],
        [GONE, GONE, (20, 0), (20, 2), GONE],
    ]
)


class TestOverlap:
    LABELS = torch.tensor([[0, 0, 1], [0, -1, 1], [2, 2, 2]], dtype=torch.int32)
    MASKS = torch.tensor([[[1, 1, 0], [1, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1], [1, 1, 1]]], dtype=torch.bool)

    def test_the_joint_histogram_counts_shared_pixels(self) -> None:
        assert areas(self.LABELS, 4).tolist() == [3, 2, 3, 0]
        assert intersections(self.LABELS, self.MASKS, 4).tolist() == [[3, 0], [0, 1], [0, 3], [0, 0]]

    def test_iou_is_shared_pixels_over_all_pixels(self) -> None:
        shared = intersections(self.LABELS, self.MASKS, 4)
        result = iou(shared, areas(self.LABELS, 4), torch.tensor([4, 4]))
        assert result.tolist() == [[3 / 4, 0], [0, 1 / 5], [0, 3 / 4], [0, 0]]

    def test_the_histogram_agrees_with_comparing_mask_by_mask(self) -> None:
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(-1, 6, (17, 23), generator=generator, dtype=torch.int32)
        masks = torch.rand(5, 17, 23, generator=generator) > 0.6
        plain = [[int((mask & (labels == segment)).sum()) for mask in masks] for segment in range(7)]
        assert intersections(labels, masks, 7).tolist() == plain

    def test_masks_of_another_size_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected \[K, 3, 3\]"):
            intersections(self.LABELS, torch.zeros(1, 4, 3, dtype=torch.bool), 3)

    def test_sampled_masks_of_small_images_lose_nothing(self) -> None:
        generator = torch.Generator().manual_seed(2)
        masks = torch.rand(4, 9, 13, generator=generator) > 0.5
        masks[3] = False
        result = coincidence(sampled(masks))
        for a in range(3):
            for b in range(3):
                expected = float((masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum())
                assert float(result[a, b]) == pytest.approx(expected)
        assert result[3].isnan().all()

    def test_a_sampled_mask_takes_at_most_3200_bytes(self) -> None:
        assert sampled(torch.ones(1, 1080, 1920, dtype=torch.bool)).shape[1] <= 160 * 160 / 8


class TestPaper:
    def test_a_late_thing_has_no_track(self) -> None:
        tracks = run(LATE, reseed=False)
        assert [t.tolist() for t in tracks] == [[0, 1], [0, 1], [0, 1, NONE], [0, 1, NONE], [0, 1]]

    def test_one_call_follows_all_first_masks_over_all_keyframes(self) -> None:
        propagator = Follower()
        run(LATE, propagator, reseed=False, window=2)
        assert propagator.calls == [(5, 0, False, 2)]

    def test_an_overlap_of_exactly_the_bar_is_no_match(self) -> None:
        """The second segment is half of what was followed: 18 of 36 pixels, IoU 0.5."""
        film = Film([[(0, 0), (0, 0)]])
        maps = film.label_maps()
        maps[1][3:] = NONE
        assert [t.tolist() for t in run(film, label_maps=maps, reseed=False)] == [[0], [NONE]]
        maps[1][3, 0] = 0
        assert [t.tolist() for t in run(film, label_maps=maps, reseed=False)] == [[0], [0]]

    def test_the_best_of_two_masks_gives_the_track(self) -> None:
        film = Film([[(0, 0), (0, 0)], [(0, 6), (0, 6)]])
        maps = film.label_maps()
        maps[1][maps[1] >= 0] = 0
        maps[1][:, 10:] = NONE  # 36 pixels of the first, 24 of the second: IoU 0.6 and 0.4
        assert [t.tolist() for t in run(film, label_maps=maps, reseed=False, match_iou=0.3)] == [[0, 1], [0]]

    def test_nothing_in_the_first_keyframe_gives_no_track_and_asks_nothing(self) -> None:
        propagator = Follower()
        film = Film([[GONE, (0, 0), (0, 1)]])
        assert [t.tolist() for t in run(film, propagator, reseed=False)] == [[], [NONE], [NONE]]
        assert propagator.calls == []


class TestReseeding:
    def test_a_late_thing_gets_a_track(self) -> None:
        tracks = run(LATE)
        assert [t.tolist() for t in tracks] == [[0, 1], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1]]

    @pytest.mark.parametrize("window", [2, 3, 5, 64])
    @pytest.mark.parametrize("backward", [False, True])
    def test_with_a_perfect_propagator_every_thing_is_one_track(self, window: int, backward: bool) -> None:
        film = wandering(length=13, count=5)
        tracks = run(film, window=window, backward=backward)
        found = tracks_of_things(film, tracks)
        assert all(len(one) == 1 and NONE not in one for one in found.values())
        assert sorted(min(one) for one in found.values()) == list(range(len(found)))

    def test_a_thing_that_was_lost_and_found_is_one_track_again(self) -> None:
        """The model loses what is hidden at keyframe 2; what comes back is followed backward to its beginning."""
        film = Film([[(0, 0), (0, 2), GONE, (0, 6), (0, 8)], [(20, 20)] * 5])
        lost = run(film, Forgetful())
        assert tracks_of_things(film, lost) == {0: {0}, 1: {1}}
        apart = run(film, Forgetful(), backward=False)
        assert tracks_of_things(film, apart) == {0: {0, 2}, 1: {1}}

    def test_without_any_link_two_sights_stay_two_tracks(self) -> None:
        film = Film([[(0, 0), (0, 2), GONE, (0, 6), (0, 8)]])
        assert tracks_of_things(film, run(film, Follower(loses=True))) == {0: {0, 1}}

    def test_a_thing_hidden_for_less_than_the_shared_part_of_two_windows_stays_one_track(self) -> None:
        """Windows of 8 share 2 keyframes, 6 and 7; the thing is hidden in the last of them only."""
        places: list[Place] = [(0, i) for i in range(12)]
        places[7] = GONE
        assert tracks_of_things(Film([places]), run(Film([places]), window=8)) == {0: {0}}

    def test_two_things_seen_apart_never_become_one_track_however_their_masks_coincide(self) -> None:
        """A model that jumps: from keyframe 1 on, every mask is put on the first thing."""
        film = Film([[(0, 0), (0, 0), (0, 0)], [(20, 20), (20, 20), (20, 20)]])
        tracks = run(film, Jumping())
        for track in tracks:
            assert track[0] != track[1]

    def test_the_better_of_two_segments_takes_a_track(self) -> None:
        """Halves of 16 and 20 pixels of a followed square of 36 both pass a bar of 0.3."""
        film = Film([[(0, 0), (0, 0)]])
        maps = film.label_maps()
        maps[1][:2, :6] = 1
        maps[1][2, :4] = 1
        tracks = run(film, label_maps=maps, match_iou=0.3)
        assert [t.tolist() for t in tracks] == [[0], [0, 1]]

    def test_a_speck_starts_no_track_but_joins_one_that_is_followed_back_to_it(self) -> None:
        """At 128 x 128 pixels, 6 are less than 0.0005 of the image: the tip of a square that comes into view."""
        film = Film([[(0, 0), (0, 0)]], size=128)
        tip = film.truth(0)
        tip[1:] = NONE
        maps = [tip, film.truth(1)]
        assert [t.tolist() for t in run(film, TipFirst(tip), label_maps=maps)] == [[0], [0]]
        assert [t.tolist() for t in run(film, TipFirst(tip), label_maps=maps, backward=False)] == [[NONE], [0]]

    def test_the_order_of_the_segments_numbers_changes_nothing(self) -> None:
        film = wandering(length=9, count=5)
        generator = np.random.default_rng(3)
        shuffled = Film(film.things, [generator.permutation(5).tolist() for _ in range(9)])
        for window in (4, 64):
            mine, theirs = (partition(f, run(f, window=window)) for f in (film, shuffled))
            assert mine == theirs

    def test_no_call_sees_more_than_a_window_and_keyframes_are_loaded_when_asked_for(self) -> None:
        film, propagator = wandering(length=40, count=4), Follower()
        maps = Lazy(film.label_maps())
        tracked(film, maps, film.counts(), propagator, match_iou=0.5, reseed=True, backward=True, window=8)
        assert max(length for length, *_ in propagator.calls) == 8
        assert maps.loaded == list(range(40))  # each once, although windows share keyframes

    def test_a_perfect_propagator_is_asked_once_per_window_for_things_that_stay(self) -> None:
        """Windows of 8 share 2: the first has 8 new keyframes, each other 6, so 20 keyframes make 3 windows."""
        propagator = Follower()
        run(Film([[(0, 0)] * 20, [(20, 20)] * 20]), propagator, window=8)
        assert propagator.calls == [(8, 0, False, 2), (8, 1, False, 2), (8, 1, False, 2)]

    def test_progress_is_told_and_may_stop_the_work(self) -> None:
        told = []
        run(LATE, progress=lambda stage, done, total, **figures: told.append((stage, done, total)))
        assert told[-1] == ("track", 5, 5)
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)

        def stop(*_: object, **__: float) -> None:
            raise Cancelled("enough")

        with pytest.raises(Cancelled):
            run(LATE, progress=stop)

    def test_what_does_not_fit_together_is_refused(self) -> None:
        with pytest.raises(ValueError, match="equal lengths"):
            tracked(LATE, [], [], Follower(), match_iou=0.5, reseed=True, backward=True, window=8)
        with pytest.raises(ValueError, match="at least 2"):
            run(LATE, window=1)

    def test_no_keyframes_give_no_tracks(self) -> None:
        for reseed in (False, True):
            assert tracked([], [], [], Follower(), match_iou=0.5, reseed=reseed, backward=True, window=8) == []


class Forgetful(Follower):
    """Loses what is hidden when it follows forward, and finds it again when it follows backward."""

    def propagate(self, images, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        self.loses = not reverse
        yield from super().propagate(images, start, masks, reverse)


class Jumping(Follower):
    """Puts every mask on the thing numbered 0 once it has left the first image."""

    def propagate(self, images, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        for index, found in super().propagate(images, start, masks, reverse):
            there = torch.as_tensor(images[index])[..., 0] == 1
            yield index, found if index == start else there[None].expand_as(found)


class Lazy:
    """Label maps that note when they are loaded."""

    def __init__(self, maps: list[Tensor]) -> None:
        self._maps, self.loaded = maps, []

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int, /) -> Tensor:
        self.loaded.append(index)
        return self._maps[index]


class TipFirst(Follower):
    """Knows that only the tip is in view at the first keyframe."""

    def __init__(self, tip: Tensor) -> None:
        super().__init__()
        self._tip = tip >= 0

    def propagate(self, images, start: int, masks: Tensor, reverse: bool) -> Iterator[tuple[int, Tensor]]:
        for index, found in super().propagate(images, start, masks, reverse):
            yield index, found & self._tip if index == 0 else found


def wandering(length: int, count: int) -> Film:
    """Squares in rows of their own, at most five, that move by random steps."""
    generator = np.random.default_rng(7)
    steps = generator.integers(-3, 4, size=(count, length)).cumsum(axis=1)
    columns = np.clip(10 + steps, 0, SIZE - SIDE)
    return Film([[(number * SIDE, int(column)) for column in row] for number, row in enumerate(columns)])


def partition(film: Film, tracks: list[Tensor]) -> set[frozenset[tuple[int, int]]]:
    """The sights (keyframe, thing) of each track."""
    found: dict[int, set[tuple[int, int]]] = {}
    for index, track in enumerate(tracks):
        for segment, thing in enumerate(film.shown(index)):
            found.setdefault(int(track[segment]), set()).add((index, thing))
    return {frozenset(sights) for sights in found.values()}
