# SPDX-License-Identifier: Apache-2.0
"""Tracks that start wherever none is; masks are followed in windows of keyframes, so that any mission fits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ccl_lgs_ros.association.mask_overlap import LabelMaps, areas, coincidence, intersections, iou, masks_of, sampled
from ccl_lgs_ros.protocols import ImageSource, Progress, Propagator
from ccl_lgs_ros.structures import NONE

MIN_SEED_SHARE = 5e-4  # of the image's pixels: a smaller segment starts no track; 150 pixels at 640x480
OVERLAP = 4  # a window shares one keyframe in so many with the next


@dataclass(slots=True)
class Seen:
    """What one keyframe of the window shows of the tracks that were followed to it."""

    labels: Tensor  # [H, W] int16, -1 none
    area: Tensor  # [M] int64 of its segments
    tracks: list[Tensor] = field(default_factory=list)  # [K] int64 of each batch
    overlap: list[Tensor] = field(default_factory=list)  # [M, K] IoU
    bits: list[Tensor] = field(default_factory=list)  # [K, ceil(P / 8)] uint8, see mask_overlap.sampled

    def add(self, tracks: Tensor, masks: Tensor) -> None:
        """Note masks [K, H, W] of tracks [K]; empty ones are not seen here."""
        size = masks.flatten(1).sum(dim=1).cpu()
        is_seen = size > 0
        if not is_seen.any():
            return
        masks, size = masks[is_seen.to(masks.device)], size[is_seen]
        self.tracks.append(tracks[is_seen])
        self.overlap.append(iou(intersections(self.labels, masks, len(self.area)), self.area, size))
        self.bits.append(sampled(masks))

    def matched(self, match_iou: float) -> Tensor:
        """The track [M] of each segment, -1 none; of two segments that fit one track the better takes it."""
        if not self.tracks:
            return torch.full((len(self.area),), NONE, dtype=torch.int64)
        tracks, overlap = torch.cat(self.tracks), torch.cat(self.overlap, dim=1)
        if not len(self.area):
            return tracks[:0]
        best, column = overlap.max(dim=1)
        track = torch.where(best > match_iou, tracks[column], NONE)
        rank = torch.empty_like(track)
        rank[best.argsort(descending=True, stable=True)] = torch.arange(len(track))
        is_beaten = (track[:, None] == track[None]) & (rank[:, None] > rank[None])
        return torch.where(is_beaten.any(dim=1), NONE, track)


class Reseeding:
    """One run over all keyframes, in which every segment that fits no followed mask starts a track of its own.

    A window follows its new tracks to its end and, if `backward`, to its beginning; then two tracks become one where
    their masks coincide on the keyframes that show both (a duplicate, or a thing that was lost and found), unless some
    keyframe has a segment of each. The next window begins in the last quarter of this one and goes on with the tracks
    that have a segment there, so a thing must show itself once in a quarter of a window to stay one track.

    Memory, besides the propagator's own: 2 bytes for each pixel of a window's images, W (2 H W), and at most
    160 x 160 / 8 bytes for each mask followed to each of them: 39 MB and 13 MB for 64 images of 640 x 480 with 60
    tracks. The tracks and the rows of the result grow with the mission.
    """

    def __init__(
        self,
        images: ImageSource,
        label_maps: LabelMaps,
        num_segments: Sequence[int],
        propagator: Propagator,
        *,
        match_iou: float,
        backward: bool,
        progress: Progress,
    ) -> None:
        self._images, self._label_maps, self._propagator = images, label_maps, propagator
        self._match_iou, self._backward, self._progress = match_iou, backward, progress
        self._track_of_segment = [torch.full((count,), NONE, dtype=torch.int64) for count in num_segments]
        self._root: list[int] = []  # the track that each track became
        self._keyframes: list[set[int]] = []  # that have a segment of it, by root
        self._window: dict[int, Seen] = {}
        self._done = 0

    def run(self, window: int) -> list[Tensor]:
        """The track [M] int64 of each keyframe's segments, -1 none."""
        total = len(self._track_of_segment)
        begin, known_until = 0, 0
        while known_until < total:
            end = min(begin + window, total)
            self._load(begin, end)
            self._hand_over(range(begin, known_until))
            for index in range(known_until, end):
                self._take(index)
            self._fill(range(known_until, end))
            self._join()
            begin, known_until = end - max(window // OVERLAP, 1), end
        return renumbered([self._rooted(track) for track in self._track_of_segment])

    def _load(self, begin: int, end: int) -> None:
        kept = {index: Seen(old.labels, old.area) for index, old in self._window.items() if index >= begin}
        self._window = kept
        for index in range(begin, end):
            if index not in kept:
                labels = self._label_maps[index].cpu()
                area = areas(labels, len(self._track_of_segment[index]))
                kept[index] = Seen(labels.to(torch.int16), area)

    def _hand_over(self, shared: range) -> None:
        """Go on with the tracks that have a segment in the keyframes shared with the window before."""
        last = {int(t): index for index in shared for t in self._rooted(self._track_of_segment[index]) if t != NONE}
        for index in shared:
            track = self._rooted(self._track_of_segment[index])
            segments = torch.nonzero(track != NONE)[:, 0]
            if not len(segments):
                continue
            masks = masks_of(self._window[index].labels, segments)
            self._window[index].add(track[segments], masks)
            is_last = torch.tensor([last[int(t)] == index for t in track[segments]])
            if is_last.any():
                self._follow(index, track[segments[is_last]], masks[is_last], reverse=False)

    def _take(self, index: int) -> None:
        """Give the segments of a keyframe the tracks that they fit; the others start new ones."""
        seen = self._window[index]
        track = seen.matched(self._match_iou)
        is_new = (track == NONE) & (seen.area >= max(MIN_SEED_SHARE * seen.labels.numel(), 1))
        segments = torch.nonzero(is_new)[:, 0]
        new = len(self._root) + torch.arange(len(segments))
        track[segments] = new
        self._root += new.tolist()
        self._keyframes += [set() for _ in segments]
        self._assign(index, track)
        self._done = index + 1
        self._report()
        if len(segments):
            masks = masks_of(seen.labels, segments)
            seen.add(new, masks)
            self._follow(index, new, masks, reverse=False)
            if self._backward:
                self._follow(index, new, masks, reverse=True)

    def _follow(self, start: int, tracks: Tensor, masks: Tensor, *, reverse: bool) -> None:
        """Note where the masks [K, H, W] of a keyframe are in the rest of the window, on one side of it."""
        begin, end = min(self._window), max(self._window)
        if start == (begin if reverse else end):
            return
        span = _Span(self._images, begin, end + 1 - begin)
        for offset, found in self._propagator.propagate(span, start - begin, masks, reverse):
            if begin + offset != start:
                self._window[begin + offset].add(tracks, found)
            self._report()

    def _fill(self, indices: range) -> None:
        """Give segments that had no track one that was followed backward to them."""
        for index in indices:
            track, known = self._window[index].matched(self._match_iou), self._track_of_segment[index]
            is_free = (known == NONE) & ~torch.isin(track, known)
            self._assign(index, torch.where(is_free, track, known))

    def _assign(self, index: int, track: Tensor) -> None:
        self._track_of_segment[index] = track
        for t in track[track != NONE].tolist():
            self._keyframes[self._root_of(t)].add(index)

    def _join(self) -> None:
        """Tracks whose masks coincide become one, best pairs first, unless a keyframe has a segment of each."""
        known, mean = self._mean_coincidence()
        first, second = torch.nonzero(mean.triu(diagonal=1) > self._match_iou, as_tuple=True)
        for pair in mean[first, second].argsort(descending=True, stable=True).tolist():
            a, b = sorted(self._root_of(int(known[which[pair]])) for which in (first, second))
            if a != b and self._keyframes[a].isdisjoint(self._keyframes[b]):
                self._root[b] = a
                self._keyframes[a] |= self._keyframes[b]
                self._keyframes[b] = set()

    def _mean_coincidence(self) -> tuple[Tensor, Tensor]:
        """The window's tracks [K] and their masks' IoU [K, K], mean over the keyframes that show both, 0 if none."""
        noted = [torch.cat(seen.tracks) if seen.tracks else torch.zeros(0).long() for seen in self._window.values()]
        known = torch.unique(torch.cat(noted))
        total, count = torch.zeros(len(known), len(known)), torch.zeros(len(known), len(known))
        for tracks, seen in zip(noted, self._window.values(), strict=True):
            if len(tracks):
                place = torch.searchsorted(known, tracks)
                overlap = coincidence(torch.cat(seen.bits)).float()
                cells = place[:, None].expand_as(overlap), place[None].expand_as(overlap)
                total.index_put_(cells, overlap.nan_to_num(0.0), accumulate=True)
                count.index_put_(cells, (~overlap.isnan()).float(), accumulate=True)
        return known, total / count.clamp_min(1.0)

    def _report(self) -> None:
        self._progress("track", self._done, len(self._track_of_segment), tracks=len(self._root))

    def _root_of(self, track: int) -> int:
        while self._root[track] != track:
            track = self._root[track]
        return track

    def _rooted(self, track: Tensor) -> Tensor:
        roots = [NONE if t == NONE else self._root_of(t) for t in track.tolist()]
        return torch.tensor(roots, dtype=torch.int64)


class _Span:
    """The images of a window, by their place in it."""

    def __init__(self, images: ImageSource, begin: int, length: int) -> None:
        self._images, self._begin, self._length = images, begin, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /):
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._images[self._begin + index]


def renumbered(track_of_segment: list[Tensor]) -> list[Tensor]:
    """The same tracks numbered from 0 without gaps, in their order; -1 stays."""
    counts = [len(track) for track in track_of_segment]
    joined = torch.cat(track_of_segment) if counts else torch.zeros(0).long()
    _, dense = torch.unique(joined[joined != NONE], return_inverse=True)
    joined[joined != NONE] = dense
    return list(torch.split(joined, counts)) if counts else []
