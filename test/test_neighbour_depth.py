# SPDX-License-Identifier: Apache-2.0
"""Keyframes without depth get it from their neighbours, live and in a refine, and the map is made of it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.neighbour_depth import WINDOW, Kept, NeighbourDepth
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.stereo import TOLERANCE, Around, Raw, View, confirmed
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.scene import make_room_scene

NUM = 7


@lru_cache
def frames() -> tuple[list[Keyframe], list[NDArray[np.float32]]]:
    """Keyframes of a room, 160x120 pixels, with measured depth; and their true depth."""
    scene = make_room_scene(7, width=160, height=120)
    made, truth = [], []
    for index, seconds in enumerate(scene.moments(80)[6 : 6 + NUM]):
        frame = scene.frame(float(seconds))
        made.append(frame.keyframe(index))
        truth.append(frame.true_depth)
    return made, truth


def withheld() -> list[Keyframe]:
    return [replace(keyframe, depth=None) for keyframe in frames()[0]]


def errors(depths: list[NDArray[np.float32] | None]) -> tuple[NDArray[np.float64], float]:
    """Relative errors of all that is known, and the share of the pixels that is."""
    found, share = [], []
    for depth, truth in zip(depths, frames()[1], strict=True):
        known = np.zeros(truth.shape, bool) if depth is None else np.isfinite(depth)
        share.append(known.mean())
        if depth is not None:
            found.append(np.abs(depth[known] / truth[known] - 1.0))
    return np.concatenate(found), float(np.mean(share))


@lru_cache
def of_refine() -> list[Keyframe]:
    source = NeighbourDepth(depth="triangulated", holdout_every=0).source(frames()[0])
    return [source[i] for i in range(len(source))]


@lru_cache
def of_live() -> list[Keyframe]:
    depth = NeighbourDepth(depth="auto", holdout_every=0)
    return [depth.live(keyframe, index) for index, keyframe in enumerate(withheld())]


def test_depth_from_neighbours_on_both_sides_is_that_of_the_room() -> None:
    error, share = errors([keyframe.depth for keyframe in of_refine()])
    assert np.median(error) < 0.04
    assert np.mean(error < 0.1) > 0.75
    assert share > 0.3


def test_depth_from_the_keyframes_before_is_that_of_the_room() -> None:
    depths = [keyframe.depth for keyframe in of_live()]
    assert depths[0] is None
    error, share = errors(depths)
    assert np.median(error) < 0.05
    assert np.mean(error < 0.1) > 0.7
    assert share > 0.15


def test_seeds_lie_near_the_surface() -> None:
    """Each Gaussian's centre against the true depth that the pixel under it has: half of them within 6 cm."""
    off = []
    for keyframe, truth in zip(of_refine(), frames()[1], strict=True):
        seeds = seed_gaussians(keyframe, None, seed_stride=3)
        points = transform_points(invert_rigid(keyframe.world_from_camera), seeds.means.numpy().astype(np.float64))
        columns, rows = np.floor(keyframe.camera.project(points)).astype(int).T
        off.append(np.abs(points[:, 2] - truth[rows.clip(0, 119), columns.clip(0, 159)]))
    assert np.median(np.concatenate(off)) < 0.06
    assert len(np.concatenate(off)) > 1000


def test_auto_keeps_what_was_measured() -> None:
    measured = frames()[0]
    depth = NeighbourDepth(depth="auto", holdout_every=0)
    source = depth.source(measured)
    for index, keyframe in enumerate(measured[:3]):
        assert depth.live(keyframe, index).depth is keyframe.depth
        assert source[index].depth is keyframe.depth


def test_measured_adds_nothing() -> None:
    depth = NeighbourDepth(depth="measured", holdout_every=0)
    given = withheld()
    assert depth.source(given) is given
    assert all(depth.live(keyframe, index) is keyframe for index, keyframe in enumerate(given))


def test_triangulated_does_not_look_at_what_was_measured() -> None:
    lies = [replace(k, depth=np.full_like(k.depth, 0.5)) for k in frames()[0] if k.depth is not None]
    depth = NeighbourDepth(depth="triangulated", holdout_every=0)
    assert depth.admitted(lies[0]).depth is None
    assert all(keyframe.depth is None for keyframe in (depth.admitting(lies)[i] for i in range(len(lies))))
    np.testing.assert_array_equal(depth.source(lies)[3].depth, of_refine()[3].depth)
    assert depth.identity and not NeighbourDepth(depth="auto", holdout_every=0).identity


def test_a_held_out_image_goes_into_no_depth() -> None:
    """The third of every three is held out: whatever its image, all depths are the same, and it has none."""
    given = withheld()
    painted = [replace(k, image=255 - k.image) if k.id % 3 == 2 else k for k in given]
    sources = [NeighbourDepth(depth="auto", holdout_every=3).source(keyframes) for keyframes in (given, painted)]
    np.testing.assert_array_equal(sources[0][3].depth, sources[1][3].depth)
    assert sources[0][2].depth is None
    live = NeighbourDepth(depth="auto", holdout_every=3)
    assert live.live(given[2], 2).depth is None


def test_a_camera_that_stands_still_knows_no_depth() -> None:
    still = [replace(withheld()[0], id=i) for i in range(3)]
    live = NeighbourDepth(depth="auto", holdout_every=0)
    assert all(live.live(keyframe, index).depth is None for index, keyframe in enumerate(still))
    source = NeighbourDepth(depth="auto", holdout_every=0).source(still)
    assert source[1].depth is None


def test_the_live_path_holds_a_few_keyframes_however_many_come() -> None:
    live = NeighbourDepth(depth="auto", holdout_every=0)
    for index in range(3 * WINDOW):
        live.live(frames()[0][0], index)
        assert len(live._before) <= WINDOW + 1


def test_what_is_kept_is_what_was_used_last() -> None:
    kept, made = Kept[int](2), []

    def get(index: int) -> int:
        return kept.get(index, lambda: made.append(index) or 10 * index)

    assert [get(i) for i in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]


@pytest.mark.parametrize(("wrong", "is_known"), [(0.5 * TOLERANCE, True), (2.0 * TOLERANCE, False)])
def test_only_what_a_neighbour_confirms_is_known(wrong: float, is_known: bool) -> None:
    """A wall 2 m ahead, a neighbour 0.1 m to the right that finds it a little farther."""
    plain = Keyframe(
        id=0,
        stamp_ns=1,
        camera=frames()[0][0].camera,
        world_from_camera=np.eye(4),
        image=np.full((120, 160, 3), 99, np.uint8),
    )
    apart = np.eye(4)
    apart[0, 3] = -0.1
    views = {i: View(plain, i) for i in range(2)}
    for i, view in views.items():
        view.raw = Raw(
            depth=np.full((60, 80), 2.0 * (1.0 + wrong * i), np.float32),
            margin=np.full((60, 80), 1000.0, np.float32),
            neighbours=[1 - i],
            neighbour_from_view=[apart if i == 0 else invert_rigid(apart)],
        )
    point = np.array([[10.5, 20.5, 2.0]])
    views[0].around = Around(neighbours=[1], neighbour_from_view=[apart], points=point, near_far=None)
    depth = confirmed(views[0], views).image(plain.camera)
    assert depth[20, 10] == 2.0  # what was triangulated needs no confirmation
    assert np.isfinite(depth[60, 80]) == is_known
    assert np.isnan(depth[60, 1])  # the neighbour does not see that far left
