# SPDX-License-Identifier: Apache-2.0
"""The noise model is exact without noise, repeats itself, grows with its strength, and keeps to published figures."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.synthetic.followed_masks import followed_masks
from ccl_lgs_ros.synthetic.perceived_features import CLASS_IMAGE, CLASS_TEXT, CONE, ImageTower
from ccl_lgs_ros.synthetic.perceived_masks import WHOLE, jittered, perceived_masks
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise, chance, size_difficulty
from ccl_lgs_ros.synthetic.scene import RoomFrame, Scene, make_room_scene
from ccl_lgs_ros.synthetic.truth import FrameTruth, RoomTruth
from ccl_lgs_ros.synthetic_perception import SyntheticPerception, SyntheticPropagator

NAMES = ["mug", "box", "ball", "book", "vase", "lamp", "bucket", "chair", "stool", "table", "shelf", "cabinet", "sofa"]
NAMES += ["door", "window", "picture frame", "carpet", "house", "building", "window blind", "doormat", "ceiling fan"]
NAMES += ["lampshade", "jug", "dog"]
CLEAN = PerceptionNoise().scaled(0.0)


def vectors(dim: int = 512) -> np.ndarray:
    """Text vectors whose cosines are about 0.75, as CLIP's of single nouns are."""
    random = np.random.default_rng(5)
    common = np.ones(dim) / np.sqrt(dim)
    return np.sqrt(0.75) * common + 0.5 * random.normal(size=(len(NAMES), dim)) / np.sqrt(dim)


@cache
def scene() -> Scene:
    return make_room_scene(3, width=80, height=60, path="orbit")


@cache
def frames() -> tuple[RoomFrame, ...]:
    return tuple(scene().frames(6))


@cache
def truths() -> tuple[FrameTruth, ...]:
    truth = RoomTruth(scene().room)
    return tuple(truth.of(frame) for frame in frames())


def perception(noise: PerceptionNoise = CLEAN, seed: int = 0) -> SyntheticPerception:
    return SyntheticPerception(
        room=scene().room, frames=frames(), names=NAMES, vectors=vectors(), noise=noise, seed=seed, truths=truths()
    )


def keyframe(index: int) -> Keyframe:
    frame = frames()[index]
    return Keyframe(
        id=index, stamp_ns=index, camera=frame.camera, world_from_camera=frame.world_from_camera, image=frame.image
    )


def test_the_truth_names_every_pixel_and_agrees_with_the_object_map() -> None:
    for frame, truth in zip(frames(), truths(), strict=True):
        is_object = truth.things < truth.num_objects
        assert ((truth.things + 1) * is_object == frame.objects).all()
        assert set(np.unique(truth.things)) <= set(range(len(truth.names)))
        floor = truth.things == truth.names.index("floor")
        points = frame.camera.unproject(frame.true_depth)[floor] @ frame.world_from_camera[:3, :3].T
        assert np.allclose(points[:, 2] + frame.world_from_camera[2, 3], 0.0, atol=0.02)


def test_what_is_out_of_view_is_not_seen_and_what_is_in_front_is() -> None:
    for truth in truths():
        present = np.bincount(truth.things.ravel(), minlength=len(truth.names))[: truth.num_objects]
        assert (truth.seen[: truth.num_objects][present == 0] < 0.2).all()
    assert max(truth.seen[: truth.num_objects].max() for truth in truths()) > 0.8


def test_without_noise_every_whole_is_exact() -> None:
    for index, truth in enumerate(truths()):
        proposals = perceived_masks(truth, CLEAN, (0, index))
        wholes = proposals.masks[proposals.granularity == WHOLE].numpy()
        assert (wholes.sum(0) <= 1).all()
        for mask in wholes:
            (thing,) = np.unique(truth.things[mask])
            assert (mask == (truth.things == thing)).all()


def test_equal_keys_give_equal_perception_and_others_do_not() -> None:
    noise = PerceptionNoise()
    labels = torch.from_numpy(truths()[1].things)
    count = int(labels.max()) + 1
    first, again, other = perception(noise), perception(noise), perception(noise, seed=1)
    masks = [one.propose(keyframe(1)).masks for one in (first, again, other)]
    assert torch.equal(masks[0], masks[1])
    assert masks[0].shape != masks[2].shape or not torch.equal(masks[0], masks[2])
    features = [one.encode_segments(frames()[1].image, labels, count) for one in (first, again, other)]
    assert torch.equal(features[0], features[1])
    assert not torch.allclose(features[0], features[2])


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(ValueError, match="one of the frames"):
        perception().propose(dataclasses.replace(keyframe(0), image=np.zeros((60, 80, 3), np.uint8)))


def test_clean_features_are_the_cone_and_the_class_alone() -> None:
    truth = truths()[0]
    tower = ImageTower(NAMES, vectors(), CLEAN, 0)
    things = [int(thing) for thing in np.unique(truth.things)]
    labels = np.searchsorted(things, truth.things)
    features = tower.features(truth, labels, len(things), (0, 0)).double()
    assert torch.allclose(features.norm(dim=1), torch.ones(len(things), dtype=torch.float64), atol=1e-5)
    names = [truth.names[thing] for thing in things]
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            assert (first == second) == bool(features[i] @ features[j] > 1 - 1e-6)


def test_images_are_nearer_to_each_other_than_to_their_own_text_yet_nearest_to_it_of_all_texts() -> None:
    tower = ImageTower(NAMES, vectors(), CLEAN, 0)
    things = {name: tower._cone + tower._content(index, _stage(NAMES), 0.0, (0,), np.random.default_rng(0))
              for index, name in enumerate(NAMES)}  # fmt: skip
    images = np.array(list(things.values()))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    assert (images @ tower.texts.T).argmax(1).tolist() == list(range(len(NAMES)))
    among_images = (images @ images.T)[np.triu_indices(len(NAMES), 1)]
    assert among_images.min() > (images * tower.texts).sum(1).max()
    assert np.linalg.norm(tower._cone) ** 2 == pytest.approx(CONE, rel=1e-6)
    assert CLASS_TEXT + CLASS_IMAGE < 1 - CONE


def _stage(names: list[str]) -> FrameTruth:
    """A frame in which the things of some names stand side by side, a column each."""
    things = np.repeat(np.arange(len(names), dtype=np.int32), 4)[None].repeat(20, axis=0)
    return FrameTruth(
        things=things,
        parts=things,
        names=tuple(names),
        num_objects=len(names),
        seen=np.ones(len(names)),
        viewpoint=np.tile([1.0, 0.0, 0.0, 0.5], (len(names), 1)),
    )


def test_a_mask_of_two_things_mixes_them_by_area() -> None:
    tower = ImageTower(NAMES, vectors(), CLEAN, 0)
    truth = _stage(["mug", "dog"])
    labels = np.full(truth.things.shape, -1)
    labels[:10, :4], labels[:, 4:8] = 0, 0  # a third of mug, two thirds of dog
    alone = [tower._content(thing, truth, 0.0, (0,), np.random.default_rng(0)) for thing in (0, 1)]
    mixed = tower._cone + alone[0] / 3 + 2 * alone[1] / 3
    feature = tower.features(truth, labels, 1, (0,))[0].numpy()
    assert np.allclose(feature, mixed / np.linalg.norm(mixed), atol=1e-6)


def test_the_background_leaks_in_more_where_the_mask_is_small() -> None:
    truth = _stage(["mug", "dog"])
    labels = np.where(truth.things == 0, 0, -1)  # half of the image, with the dog along its rim
    found = []
    for small_share in (1e-4, 1.0):
        noise = dataclasses.replace(CLEAN, leak=(0.05, 0.2), small_share=small_share)
        tower = ImageTower(NAMES, vectors(), noise, 0)
        mug, dog = (tower._content(thing, truth, 0.0, (0,), np.random.default_rng(0)) for thing in (0, 1))
        found.append(tower.features(truth, labels, 1, (0,))[0].numpy())
        leak = 0.05 + 0.2 * size_difficulty(0.5, small_share)
        expected = tower._cone + (1 - leak) * mug + leak * dog
        assert np.allclose(found[-1], expected / np.linalg.norm(expected), atol=1e-6)
    assert size_difficulty(0.5, 1.0) == 1.0


def test_drift_is_smooth_in_the_view_and_large_views_apart() -> None:
    noise = dataclasses.replace(CLEAN, drift=0.3)
    tower = ImageTower(NAMES, vectors(), noise, 0)
    labels = np.where(_stage(NAMES).things == 0, 0, -1)

    def feature(angle: float) -> np.ndarray:
        turned = np.tile([np.cos(angle), np.sin(angle), 0.0, 0.5], (len(NAMES), 1))
        return tower.features(dataclasses.replace(_stage(NAMES), viewpoint=turned), labels, 1, (0,))[0].numpy()

    near, far = feature(0.0) @ feature(0.05), feature(0.0) @ feature(1.5)
    assert near > 0.99
    assert far < near - 0.1


def test_features_grow_worse_with_strength() -> None:
    labels = np.where(truths()[0].things < 20, truths()[0].things, -1)
    count = int(labels.max()) + 1
    clean = ImageTower(NAMES, vectors(), CLEAN, 0).features(truths()[0], labels, count, (0, 0))
    agreement = []
    for strength in (0.5, 1.0, 2.0):
        noisy = ImageTower(NAMES, vectors(), PerceptionNoise().scaled(strength), 0)
        agreement.append(float((noisy.features(truths()[0], labels, count, (0, 0)) * clean).sum(1).mean()))
    assert 0.99 > agreement[0] > agreement[1] > agreement[2] > 0.2


def test_masks_grow_worse_with_strength_and_small_ones_are_missed_most() -> None:
    found = []
    for strength in (0.0, 0.5, 1.0, 2.0):
        noise = PerceptionNoise().scaled(strength)
        ious = [best_iou(truth, noise, (seed, index)) for seed in range(3) for index, truth in enumerate(truths())]
        found.append(float(np.concatenate(ious).mean()))
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    noise = PerceptionNoise()
    assert chance(noise.miss, size_difficulty(0.001, noise.small_share)) > 5 * chance(
        noise.miss, size_difficulty(0.1, noise.small_share)
    )


def best_iou(truth: FrameTruth, noise: PerceptionNoise, key: tuple[int, ...]) -> np.ndarray:
    masks = perceived_masks(truth, noise, key).masks.numpy()
    things = [thing for thing in np.unique(truth.things) if (truth.things == thing).sum() > 20]
    whole = np.stack([truth.things == thing for thing in things])
    shared = (masks[None] & whole[:, None]).sum((2, 3))
    return (shared / (masks[None] | whole[:, None]).sum((2, 3))).max(1)


def test_a_jittered_boundary_keeps_most_of_the_mask() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[15:45, 20:60] = True
    ious = []
    for seed in range(20):
        other = jittered(mask, PerceptionNoise().jitter, np.random.default_rng(seed))
        ious.append((mask & other).sum() / (mask | other).sum())
    assert 0.85 < np.mean(ious) < 0.98
    assert (jittered(mask, 0.0, np.random.default_rng(0)) == mask).all()


def moving(columns: list[int | None]) -> list[FrameTruth]:
    """A thing (0) before a wall (1), at a column in each frame or nowhere."""
    found = []
    for at in columns:
        things = np.ones((8, 40), np.int32)
        if at is not None:
            things[2:6, at : at + 5] = 0
        seen = np.array([0.0 if at is None else 1.0, 1.0])
        found.append(
            FrameTruth(
                things=things,
                parts=things,
                names=("mug", "wall"),
                num_objects=1,
                seen=seen,
                viewpoint=np.zeros((2, 4)),
            )
        )
    return found


def test_without_noise_a_thing_is_followed_and_found_again() -> None:
    truths = moving([3, 10, None, 20])
    prompt = (truths[0].things == 0)[None]
    masks = list(followed_masks(truths, prompt, CLEAN, (0,)))
    assert [(mask[0] == (truth.things == 0)).all() for mask, truth in zip(masks, truths, strict=True)] == [True] * 4


def test_a_lost_thing_stays_lost() -> None:
    truths = moving([3, None, 20, 21, 22])
    noise = dataclasses.replace(CLEAN, find_again=0.0)
    masks = list(followed_masks(truths, (truths[0].things == 0)[None], noise, (0,)))
    assert [bool(mask.any()) for mask in masks] == [True, False, False, False, False]


def test_a_mask_that_slips_takes_in_what_it_touches() -> None:
    truths = moving([3, 4])
    noise = dataclasses.replace(CLEAN, slip=1.0)
    masks = list(followed_masks(truths, (truths[0].things == 0)[None], noise, (0,)))
    assert masks[1].all()


def test_the_propagator_goes_backward_to_the_first_image() -> None:
    images = [frame.image for frame in frames()]
    known = perception()
    things = list(np.unique(truths()[3].things))[:2]
    prompts = torch.from_numpy(np.stack([truths()[3].things == thing for thing in things]))
    found = dict(SyntheticPropagator(known).propagate(images, 3, prompts, True))
    assert list(found) == [3, 2, 1, 0]
    for index, masks in found.items():
        expected = np.stack([truths()[index].things == thing for thing in things])
        assert (masks.numpy() == expected).all()


def test_prompts_rank_the_right_things_first_and_unknown_words_are_said() -> None:
    known = perception()
    truth = truths()[0]
    present = [thing for thing in np.unique(truth.things) if truth.names[thing] in NAMES]
    labels = torch.full(truth.things.shape, -1, dtype=torch.int32)
    for row, thing in enumerate(present):
        labels[torch.from_numpy(truth.things == thing)] = row
    features = known.encode_segments(frames()[0].image, labels, len(present))
    for row, thing in enumerate(present):
        relevancy = known.relevancy(features, known.understand(truth.names[thing]))
        assert truth.names[present[int(relevancy.argmax())]] == truth.names[thing]
        assert relevancy[row] > 0.5
    assert known.understand("unicorn").unknown_words == ("unicorn",)
    assert not known.relevancy(features, known.understand("unicorn")).any()


def test_noise_refuses_a_negative_strength_and_zero_is_nothing() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        PerceptionNoise().scaled(-1.0)
    assert CLEAN.find_again == 1.0
    assert {CLEAN.miss, CLEAN.merge, CLEAN.split, CLEAN.view, CLEAN.leak, CLEAN.confusion, CLEAN.lose} == {(0.0, 0.0)}
    assert PerceptionNoise().scaled(1.0) == PerceptionNoise()
    true_masks = PerceptionNoise().with_true_masks()
    assert true_masks.miss == (0.0, 0.0)
    assert true_masks.confusion == PerceptionNoise().confusion


def test_a_segment_of_a_part_looks_like_the_part_only_where_parts_are_known() -> None:
    truth = next(t for t in truths() if part_of_lamp(t, "shade").sum() > 20)
    labels = np.where(part_of_lamp(truth, "shade"), 0, np.where(truth.things == lamp(), 1, -1))
    whole = np.where(truth.things == lamp(), 0, -1)
    cosines = {}
    for knows_parts in (False, True):
        tower = ImageTower(NAMES, vectors(), CLEAN, 0, knows_parts=knows_parts)
        part = tower.features(truth, labels, 1, (0, 0))[0].numpy()
        thing = tower.features(truth, whole, 1, (0, 0))[0].numpy()
        cosines[knows_parts] = (part @ tower.text("lampshade"), thing @ tower.text("lampshade"))
        assert tower.knows("shade") == knows_parts
    assert cosines[False][0] == pytest.approx(cosines[False][1])  # a part is its thing, as in the noise model's page
    assert cosines[True][0] > cosines[True][1] + 0.02
    assert cosines[True][1] == pytest.approx(cosines[False][1])


def lamp() -> int:
    return next(index for index, item in enumerate(scene().room.objects) if item.kind == "lamp")


def part_of_lamp(truth: FrameTruth, name: str) -> np.ndarray:
    named = [index for index, part in enumerate(truth.part_names) if part == name]
    return (truth.things == lamp()) & np.isin(truth.parts, named)
