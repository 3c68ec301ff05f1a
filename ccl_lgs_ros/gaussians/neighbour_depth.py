# SPDX-License-Identifier: Apache-2.0
"""Keyframes with depth, wherever it comes from: measured, or made of neighbouring keyframes' images.

On the live path a keyframe's neighbours are the few before it; in a refine those after it as well. What a held-out
keyframe's image shows goes into no depth.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.optimize import is_held_out
from ccl_lgs_ros.gaussians.stereo import Confirmed, View, confirmed, look_around, raw_depth
from ccl_lgs_ros.protocols import KeyframeSource

logger = logging.getLogger(__name__)

WINDOW = 6  # keyframes on either side that are neighbours
KEPT_VIEWS = 6 * WINDOW  # about 1 MB each at a width of 320 pixels
KEPT_DEPTHS = 2048  # 0.04 MB each at a width of 320 pixels; what is older is made again when it is asked for
Item = TypeVar("Item")


class NeighbourDepth:
    """Gives keyframes their depth.

    Args:
        depth: auto = measured where there is any, else from neighbours; measured = nothing else; triangulated = from
            neighbours, whatever was measured.
        holdout_every: every how many-th keyframe is held out.
    """

    def __init__(self, *, depth: str, holdout_every: int) -> None:
        self._choice, self._holdout_every = depth, holdout_every
        self._before: OrderedDict[int, View] = OrderedDict()

    @property
    def identity(self) -> str:
        """What distinguishes keyframes that are perceived without the depth that they have; empty for all others."""
        return " depth withheld" if self._choice == "triangulated" else ""

    def admitted(self, keyframe: Keyframe) -> Keyframe:
        """The keyframe with no more measured depth than is to be used."""
        return replace(keyframe, depth=None) if self._choice == "triangulated" else keyframe

    def admitting(self, keyframes: KeyframeSource) -> KeyframeSource:
        """The keyframes, each as `admitted` gives it."""
        return _Each(keyframes, self.admitted)

    def live(self, keyframe: Keyframe, index: int) -> Keyframe:
        """The next keyframe, at working size, with depth; its neighbours are those that came before."""
        keyframe = self.admitted(keyframe)
        if self._choice == "measured" or is_held_out(index, self._holdout_every):
            return keyframe
        view = self._before[index] = View(keyframe, index)
        while len(self._before) > WINDOW + 1:
            self._before.popitem(last=False)
        if keyframe.depth is not None:
            return keyframe
        self._look(view)
        for other in list(self._before.values()):  # the first of all had no neighbour
            if other.raw is None and view.raw is not None and other.index in view.raw.neighbours:
                self._look(other)
        return _with_depth(keyframe, confirmed(view, self._before))

    def _look(self, view: View) -> None:
        view.around = look_around(view, [other for other in self._before.values() if other is not view])
        view.raw = raw_depth(view, self._before)

    def source(self, keyframes: KeyframeSource) -> KeyframeSource:
        """The keyframes of a whole mission, at working size, with depth."""
        if self._choice == "measured":
            return keyframes
        return _Deepened(keyframes, self.admitted, self._holdout_every)


class _Each:
    """Keyframes of which each is changed when it is asked for."""

    def __init__(self, keyframes: KeyframeSource, change: Callable[[Keyframe], Keyframe]) -> None:
        self._keyframes, self._change = keyframes, change

    def __len__(self) -> int:
        return len(self._keyframes)

    def __getitem__(self, index: int, /) -> Keyframe:
        return self._change(self._keyframes[index])


class _Deepened:
    """Keyframes whose depth is made when it is asked for."""

    def __init__(self, keyframes: KeyframeSource, admitted: Callable[[Keyframe], Keyframe], holdout_every: int) -> None:
        self._keyframes, self._admitted, self._holdout_every = keyframes, admitted, holdout_every
        self._views: Kept[View] = Kept(KEPT_VIEWS)
        self._depths: Kept[Confirmed] = Kept(KEPT_DEPTHS)

    def __len__(self) -> int:
        return len(self._keyframes)

    def __getitem__(self, index: int, /) -> Keyframe:
        keyframe = self._admitted(self._keyframes[index])
        if keyframe.depth is not None or is_held_out(index, self._holdout_every):
            return keyframe
        return _with_depth(keyframe, self._depths.get(index, lambda: self._depth(index)))

    def _depth(self, index: int) -> Confirmed:
        view = self._with_raw(index)
        others = view.raw.neighbours if view.raw is not None else []
        return confirmed(view, {other: self._with_raw(other) for other in others})

    def _with_raw(self, index: int) -> View:
        view = self._with_around(index)
        if view.raw is None and view.around is not None:
            is_clear = view.around.near_far is not None
            get = self._view if is_clear else self._with_around
            view.raw = raw_depth(view, {other: get(other) for other in view.around.neighbours})
        return view

    def _with_around(self, index: int) -> View:
        view = self._view(index)
        if view.around is None:
            near = range(max(index - WINDOW, 0), min(index + WINDOW + 1, len(self._keyframes)))
            others = [i for i in near if i != index and not is_held_out(i, self._holdout_every)]
            view.around = look_around(view, [self._view(other) for other in others])
        return view

    def _view(self, index: int) -> View:
        return self._views.get(index, lambda: View(self._keyframes[index], index))


class Kept(Generic[Item]):
    """The last used ones of what is made on demand.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[int, Item] = OrderedDict()

    def get(self, index: int, make: Callable[[], Item]) -> Item:
        """The item at a position, made if it is not kept."""
        if index not in self._items:
            self._items[index] = make()
            if len(self._items) > self._limit:
                self._items.popitem(last=False)
        self._items.move_to_end(index)
        return self._items[index]


def _with_depth(keyframe: Keyframe, found: Confirmed) -> Keyframe:
    """The keyframe with a depth image; without one where nothing of it is known."""
    depth = found.image(keyframe.camera)
    return replace(keyframe, depth=depth) if np.isfinite(depth).any() else keyframe
