# SPDX-License-Identifier: Apache-2.0
"""What is looked through often enough is gone; what older keyframes show of it, or behind what came, is no evidence."""

import numpy as np
import torch

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.changes import still_true
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.gaussians.ghosts import Ghosts, newcomers_before, outdated_pixels_of
from ccl_lgs_ros.gaussians.schedule import at_resolution
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.store import MAX_EVIDENCE, GaussianStore
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import Gaussians

CAMERA = Camera(width=64, height=48, fx=60.0, fy=60.0, cx=32.0, cy=24.0)
FAR, NEAR = 3.0, 2.0  # metres: a wall, and a box before it
BOX = np.s_[16:32, 24:40]
INSIDE = np.s_[20:28, 28:36]  # of the box, away from its rim
RASTERIZER = NumbaRasterizer()


def keyframe(*, box: bool) -> Keyframe:
    depth, image = np.full((48, 64), FAR, np.float32), np.full((48, 64, 3), 90, np.uint8)
    if box:
        depth[BOX], image[BOX] = NEAR, (200, 30, 30)
    return Keyframe(id=0, stamp_ns=1, camera=CAMERA, world_from_camera=np.eye(4), image=image, depth=depth)


def seeds(view: Keyframe) -> Gaussians:
    return seed_gaussians(view, None, seed_stride=2)


def box_of(gaussians: Gaussians) -> torch.Tensor:
    return gaussians.means[:, 2] < 0.9 * FAR


def test_five_looks_through_it_end_what_any_number_has_seen() -> None:
    store = GaussianStore(Gaussians.empty())
    store.append(seeds(keyframe(box=True)), 0)
    for index in range(1, 40):
        assert not store.weigh(store.seen_by(keyframe(box=True)), keyframe(box=True), index).any()
    for look in range(MAX_EVIDENCE + 1):
        part = store.seen_by(keyframe(box=False))
        is_through = store.weigh(part, keyframe(box=False), 40 + look)
        assert is_through.any() == (look == MAX_EVIDENCE)
    middle = box_of(part.gaussians) & (part.gaussians.means[:, :2].abs() < 0.2).all(dim=1)
    assert is_through[middle].all() and not is_through[~box_of(part.gaussians)].any()
    assert (store.standing.last_seen[part.index[is_through]] == 39).all()


def test_what_is_gone_is_seen_and_drawn_no_more_and_keeps_its_place() -> None:
    store = GaussianStore(Gaussians.empty())
    part = store.append(seeds(keyframe(box=True)), 0)
    gone = part.index[box_of(part.gaussians)]
    store.remove(gone)
    assert len(store) == len(part.index) and int((~store.is_there).sum()) == len(gone)
    assert not torch.isin(gone, store.seen_by(keyframe(box=False)).index).any()
    drawn = RASTERIZER.render(store.gaussians, CAMERA, np.eye(4))
    assert (drawn.depth.numpy()[INSIDE] < 0.1).all() or (drawn.depth.numpy()[INSIDE] > 0.9 * FAR).all()


def test_an_old_keyframe_shows_what_is_gone_and_a_new_one_does_not() -> None:
    old, new = keyframe(box=True), keyframe(box=False)
    box = seeds(old).select(box_of(seeds(old)))
    anchor = torch.zeros(len(box), dtype=torch.int32)
    ghosts = Ghosts(gaussians=box, anchor=anchor, last_seen=anchor + 5)
    store = GaussianStore(seeds(new))
    gone = ghosts.shown_by(old, 5, store, RASTERIZER)
    assert gone is not None and gone[INSIDE].all() and not gone[:10].any()
    assert ghosts.shown_by(old, 6, store, RASTERIZER) is None
    assert ghosts.shown_by(new, 0, store, RASTERIZER) is None
    again = ghosts.shown_by(old, 5, GaussianStore(seeds(old)), RASTERIZER)  # it is back
    assert again is None or not again[INSIDE].any()


def test_a_segment_that_mostly_shows_what_is_gone_does_so_wholly() -> None:
    gone = np.zeros((48, 64), bool)
    gone[BOX] = True
    labels = np.full((48, 64), -1, np.int64)
    labels[16:36, 24:40] = 0  # the box and a strip below it
    labels[36:] = 1
    outdated = outdated_pixels_of(gone, None, {"wp": torch.from_numpy(labels)})
    assert outdated is not None and outdated[labels == 0].all() and not outdated[36:].any()
    assert outdated_pixels_of(None, None, {}) is None


def test_where_something_stands_now_an_older_keyframe_says_nothing_of_what_is_behind() -> None:
    old, new = keyframe(box=False), keyframe(box=True)
    store = GaussianStore(Gaussians.empty())
    store.append(seeds(old), 0)
    box = seeds(new)
    store.append(box.select(box_of(box)), 7)
    assert newcomers_before(old, 3, store, RASTERIZER) is None  # one keyframe saw it: perhaps an error
    store.weigh(store.seen_by(new), new, 8)
    came = newcomers_before(old, 3, store, RASTERIZER)
    assert came is not None and came[INSIDE].all() and not came[:10].any()
    assert newcomers_before(old, 9, store, RASTERIZER) is None  # it stood there then: an error of this keyframe


def test_outdated_pixels_have_no_vote_and_no_visibility() -> None:
    view, gaussians = keyframe(box=True), seeds(keyframe(box=True))
    outdated = np.zeros((48, 64), bool)
    outdated[BOX] = True
    labels = {
        "sp": torch.from_numpy(outdated.astype(np.int32)),
        "wp": torch.zeros(48, 64, dtype=torch.int32),
    }
    found = joint_votes(RASTERIZER, gaussians, CAMERA, np.eye(4), labels, outdated)
    kept = torch.from_numpy(np.where(outdated, -1, 0).astype(np.int32))
    expected = RASTERIZER.vote(gaussians, CAMERA, view.world_from_camera, kept)
    for votes in found.values():
        assert torch.equal(votes.gaussian, expected.gaussian) and not votes.label.any()
        assert torch.allclose(votes.weight, expected.weight, atol=1e-4)
        seen = torch.zeros_like(votes.visibility).index_add_(0, votes.gaussian, votes.weight)
        assert torch.allclose(votes.visibility, seen, atol=1e-3)


def test_outdated_pixels_lose_their_depth_and_stay_marked_at_half_the_size() -> None:
    size = (240, 320)
    outdated = np.zeros(size, bool)
    outdated[10, 11] = True
    view = Keyframe(
        id=0,
        stamp_ns=1,
        camera=CAMERA.resized(320, 240),
        world_from_camera=np.eye(4),
        image=np.zeros((*size, 3), np.uint8),
        depth=np.full(size, FAR, np.float32),
    )
    assert still_true(view, None) is view
    marked = still_true(view, outdated)
    assert marked.depth is not None and np.argwhere(np.isnan(marked.depth)).tolist() == [[10, 11]]
    small = at_resolution(marked, 0.0)
    assert small.outdated is not None and np.argwhere(small.outdated).tolist() == [[5, 5]]
