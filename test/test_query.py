# SPDX-License-Identifier: Apache-2.0
"""What an answer holds: which things, how many, where, and what it says when there are none."""

import numpy as np
import pytest
import torch
from mini_scene import BLUE, GREEN, RED, Mapper, box_surface, codebook_of, gaussians_at, map_of
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.query.answer import MapIndex, answer
from ccl_lgs_ros.query.boxes import level_axes, share_inside, upright_box
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex, relevancy_of_gaussians, relevancy_of_tracks
from ccl_lgs_ros.structures import NONE, SemanticLevel, SemanticMap

UNDERSTOOD = Prompt(text="red thing", feature=RED)


def ask(semantic_map: SemanticMap, prompt: Prompt = UNDERSTOOD, relevancy: dict | None = None, **options) -> Answer:
    """The answer where an entry is as relevant as it is red, unless told otherwise."""
    if relevancy is None:
        relevancy = {name: level.codebook.entries @ RED for name, level in semantic_map.levels.items()}
    defaults = {
        "threshold": 0.5,
        "max_instances": 10,
        "min_gaussians": 15,
        "connect_distance": 0.0,
        "level": "auto",
    }
    found = {name: LevelRelevancy.of_entries(semantic_map.levels[name], of) for name, of in relevancy.items()}
    return answer(semantic_map, prompt, found, **{**defaults, **options})


def scene(*things: tuple[np.ndarray, Tensor]) -> SemanticMap:
    """A map of things, each its points and its feature, each its own track."""
    track = torch.repeat_interleave(torch.arange(len(things)), torch.tensor([len(points) for points, _ in things]))
    return map_of(np.concatenate([p for p, _ in things]), track, torch.stack([f for _, f in things]))


def face(corner: tuple, along: tuple, up: tuple, spacing: float = 0.01) -> np.ndarray:
    """Points of a parallelogram, on a grid."""
    u = np.arange(0, 1, spacing / np.linalg.norm(along))[:, None, None] * np.array(along)
    v = np.arange(0, 1, spacing / np.linalg.norm(up))[None, :, None] * np.array(up)
    return (np.array(corner) + u + v).reshape(-1, 3).astype(np.float32)


def ids(found: Answer) -> list[set[int]]:
    return [set(instance.gaussian_ids.tolist()) for instance in found.instances]


def test_only_the_thing_that_matches_is_found():
    red, blue = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), box_surface((1, 0, 0.1), (0.2, 0.2, 0.2))
    found = ask(scene((blue, BLUE), (red, RED)))
    assert ids(found) == [set(range(len(blue), len(blue) + len(red)))]
    assert found.instances[0].id == 1
    assert found.instances[0].entry == 1
    assert found.instances[0].score == pytest.approx(1.0)
    assert found.map_version == 3
    assert found.message == "1 instance"


def test_the_box_and_the_centroid_of_an_instance_lie_where_the_thing_is():
    red = box_surface((1.0, 2.0, 0.15), (0.4, 0.2, 0.3))
    instance = ask(scene((red, RED))).instances[0]
    np.testing.assert_allclose(instance.box.center, [1.0, 2.0, 0.15], atol=0.01)
    np.testing.assert_allclose(instance.box.size, [0.4, 0.2, 0.3], atol=0.015)
    np.testing.assert_allclose(instance.centroid, [1.0, 2.0, 0.15], atol=0.02)


def test_the_centroid_of_a_thing_seen_from_one_side_is_not_drawn_to_the_viewer():
    whole = box_surface((1.0, 2.0, 0.15), (0.4, 0.2, 0.3))
    seen = whole[~((whole[:, 1] > 2.09) | (whole[:, 0] > 1.19))]  # the far sides were out of sight
    centroid = ask(scene((seen, RED))).instances[0].centroid
    assert np.linalg.norm(centroid - [1.0, 2.0, 0.15]) < np.linalg.norm(np.median(seen, axis=0) - [1.0, 2.0, 0.15]) / 2


def test_two_things_of_one_colour_20_cm_apart_are_two():
    left, right = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), box_surface((0.4, 0, 0.1), (0.2, 0.2, 0.2), seed=1)
    assert len(ask(scene((left, RED), (right, RED))).instances) == 2


def test_one_track_on_two_distant_things_is_two_instances_with_ids_of_their_own():
    left, right = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), box_surface((0.6, 0, 0.1), (0.2, 0.2, 0.2), seed=1)
    found = ask(scene((np.concatenate([left, right]), RED)))
    assert len(found.instances) == 2
    assert len({instance.id for instance in found.instances}) == 2


def test_two_boxes_of_one_colour_that_touch_are_two_when_all_views_kept_them_apart():
    left, right = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), box_surface((0.2, 0, 0.1), (0.2, 0.2, 0.2), seed=1)
    assert len(ask(scene((left, RED), (right, RED))).instances) == 2


def test_two_fronts_side_by_side_are_two():
    left, right = face((0, 0, 0), (0.2, 0, 0), (0, 0, 0.2)), face((0.2, 0, 0), (0.2, 0, 0), (0, 0, 0.2))
    assert len(ask(scene((left, RED), (right, RED))).instances) == 2


def test_the_front_and_the_side_of_a_box_are_one_thing():
    front, side = face((0, 0, 0), (0.2, 0, 0), (0, 0, 0.2)), face((0, 0.01, 0), (0, 0.15, 0), (0, 0, 0.2))
    found = ask(scene((front, RED), (side, RED)))
    assert [len(x) for x in ids(found)] == [len(front) + len(side)]


def test_an_over_segmented_top_belongs_to_its_box():
    front, side = face((0, 0, 0), (0.2, 0, 0), (0, 0, 0.2)), face((0, 0.01, 0), (0, 0.15, 0), (0, 0, 0.2))
    top = face((0, 0, 0.2), (0.2, 0, 0), (0, 0.15, 0))
    parts = [(top[(np.arange(len(top)) // 40) % 3 == i], RED) for i in range(3)]
    assert len(ask(scene((front, RED), (side, RED), *parts)).instances) == 1


def test_a_rim_along_the_front_of_a_box_belongs_to_it():
    front, rim = face((0, 0, 0), (0.2, 0, 0), (0, 0, 0.2)), face((0, 0, 0.2), (0.2, 0, 0), (0, 0, 0.02))
    assert len(ask(scene((front, RED), (rim, RED))).instances) == 1


def test_a_handle_a_little_off_belongs_to_its_mug_but_a_second_mug_does_not():
    mug = face((0, 0, 0), (0.1, 0, 0), (0, 0, 0.1))
    handle = face((0.14, 0, 0.02), (0.02, 0, 0), (0, 0, 0.06))
    second = face((0.14, 0, 0), (0.1, 0, 0), (0, 0, 0.1))
    assert len(ask(scene((mug, RED), (handle, RED))).instances) == 1
    assert len(ask(scene((mug, RED), (second, RED))).instances) == 2


def test_two_narrow_spines_side_by_side_are_two():
    left, right = face((0, 0, 0), (0.03, 0, 0), (0, 0, 0.2)), face((0.03, 0, 0), (0.03, 0, 0), (0, 0, 0.2))
    assert len(ask(scene((left, RED), (right, RED))).instances) == 2


def test_touching_parts_that_look_different_are_two_things():
    front, side = face((0, 0, 0), (0.2, 0, 0), (0, 0, 0.2)), face((0, 0.01, 0), (0, 0.15, 0), (0, 0, 0.2))
    found = ask(scene((front, RED), (side, BLUE)), relevancy={"wp": torch.tensor([0.9, 0.8])})
    assert len(found.instances) == 2


def test_a_thing_with_a_strip_hidden_is_one_instance():
    whole = face((0, 0, 0), (0.5, 0, 0), (0, 0, 0.3))
    is_hidden = (whole[:, 0] > 0.2) & (whole[:, 0] < 0.3)
    assert len(ask(scene((whole[~is_hidden], RED))).instances) == 1


def test_specks_and_strays_are_no_instances():
    red = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    stray = red[:20] * 0.05 + np.array([2, 0, 0], np.float32)
    speck = red[:10] * 0.05 + np.array([3, 0, 0], np.float32)
    found = ask(scene((np.concatenate([red, stray]), RED), (speck, RED)))
    assert ids(found) == [set(range(len(red)))]


def test_a_small_thing_of_its_own_is_kept():
    red = box_surface((0, 0, 0.5), (1.0, 1.0, 1.0), spacing=0.02)
    mug = box_surface((2, 0, 0.05), (0.08, 0.08, 0.1))
    assert len(ask(scene((red, RED), (mug, RED))).instances) == 2


def test_a_speck_must_match_clearly_to_be_an_answer():
    speck = scene((face((0, 0, 0), (0.05, 0, 0), (0, 0.04, 0)), RED))
    assert len(speck.gaussians) == 20
    assert ask(speck, relevancy={name: torch.tensor([0.9]) for name in speck.levels}).instances
    barely = ask(speck, relevancy={name: torch.tensor([0.52]) for name in speck.levels})
    assert not barely.instances
    assert barely.best_score < 0.5


def test_better_matches_come_first_but_a_speck_does_not_lead():
    big = box_surface((0, 0, 0.2), (0.4, 0.4, 0.4))
    small = box_surface((1, 0, 0.01), (0.03, 0.03, 0.02), spacing=0.008)
    other = box_surface((2, 0, 0.2), (0.4, 0.4, 0.4), seed=2)
    semantic_map = scene((other, RED), (small, BLUE), (big, GREEN))
    found = ask(semantic_map, relevancy={"wp": torch.tensor([0.6, 0.85, 0.8])})
    assert [instance.id for instance in found.instances] == [2, 0, 1] or [i.id for i in found.instances] == [2, 1, 0]
    assert found.instances[0].score == pytest.approx(0.8)
    assert len(ask(semantic_map, relevancy={"wp": torch.tensor([0.6, 0.85, 0.8])}, max_instances=1).instances) == 1


def test_an_absent_thing_has_no_instance_and_the_best_score_is_told():
    found = ask(scene((box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), GREEN)), relevancy={"wp": torch.tensor([0.31])})
    assert found.instances == ()
    assert found.best_score == pytest.approx(0.31)
    assert found.message == "nothing found: best score 0.31 < threshold 0.50"


def test_the_threshold_is_absolute_and_reaching_it_is_enough():
    semantic_map = scene((box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), GREEN))
    assert len(ask(semantic_map, relevancy={"wp": torch.tensor([0.5])}).instances) == 1
    assert len(ask(semantic_map, relevancy={"wp": torch.tensor([0.5])}, threshold=0.51).instances) == 0


def test_a_few_gaussians_are_no_evidence_for_a_best_score():
    speck, box = box_surface((3, 0, 0), (0.02, 0.02, 0.02))[:10], box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    found = ask(scene((speck, RED), (box, GREEN)), relevancy={"wp": torch.tensor([0.9, 0.2])})
    assert found.instances == ()
    assert found.best_score == pytest.approx(0.2)


def test_a_prompt_that_is_not_understood_finds_nothing_and_names_the_words():
    prompt = Prompt(text="zorgle blick", feature=torch.zeros(8), unknown_words=("zorgle", "blick"))
    found = ask(scene((box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), RED)), prompt)
    assert found.instances == ()
    assert "zorgle, blick" in found.message
    assert found.best_score == 0.0


def test_unknown_words_beside_known_ones_are_mentioned():
    prompt = Prompt(text="red zorgle", feature=RED, unknown_words=("zorgle",))
    found = ask(scene((box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), RED)), prompt)
    assert found.message == "1 instance; unknown words: zorgle"


def test_a_map_without_semantics_or_gaussians_answers_that_it_has_none():
    points = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    bare = SemanticMap(gaussians=gaussians_at(points), levels={}, encoder="test/1")
    empty = map_of(np.zeros((0, 3)), torch.zeros(0), torch.zeros(0, 8))
    unvoted = map_of(points, torch.full((len(points),), NONE), torch.zeros(0, 8))
    for semantic_map in (bare, empty, unvoted):
        found = ask(semantic_map)
        assert found.instances == ()
        assert found.message == "nothing found: the map has no semantics yet"


def test_a_level_that_the_map_lacks_is_refused():
    semantic_map = scene((box_surface((0, 0, 0.1), (0.2, 0.2, 0.2)), RED))
    with pytest.raises(ValueError, match="level"):
        ask(semantic_map, level="sp")


def two_levels(sp_score: float, wp_score: float, sp_count: int | None = None) -> tuple[SemanticMap, dict]:
    points = box_surface((0, 0, 0.1), (0.3, 0.3, 0.2))
    levels = {}
    for name in LEVELS:
        track = torch.zeros(len(points), dtype=torch.int32)
        if name == "sp" and sp_count is not None:
            track[sp_count:] = NONE
        levels[name] = SemanticLevel(
            track_of_gaussian=track,
            confidence=torch.full((len(points),), 255, dtype=torch.uint8),
            entry_of_track=torch.zeros(1, dtype=torch.int64),
            codebook=codebook_of(RED[None]),
        )
    semantic_map = SemanticMap(gaussians=gaussians_at(points), levels=levels, encoder="test/1")
    return semantic_map, {"sp": torch.tensor([sp_score]), "wp": torch.tensor([wp_score])}


@pytest.mark.parametrize(
    ("sp", "wp", "sp_count", "expected"),
    [
        (0.9, 0.6, None, "sp"),
        (0.6, 0.9, None, "wp"),
        (0.81, 0.80, None, "wp"),  # a tie goes to whole things
        (0.9, 0.8, 20, "wp"),  # a speck is little evidence
        (0.3, 0.2, None, "sp"),  # nothing found: what came nearest
    ],
)
def test_the_level_with_the_best_supported_instance_answers(sp, wp, sp_count, expected):
    semantic_map, relevancy = two_levels(sp, wp, sp_count)
    found = ask(semantic_map, relevancy=relevancy)
    assert found.level == expected
    assert all(instance.level == expected for instance in found.instances)
    assert ask(semantic_map, relevancy=relevancy, level="sp").level == "sp"


def test_an_index_made_before_gives_the_same_answer():
    things = [(box_surface((x, 0, 0.1), (0.2, 0.2, 0.2), seed=x), RED) for x in range(3)]
    semantic_map = scene(*things)
    assert ids(ask(semantic_map)) == ids(ask(semantic_map, index=MapIndex(semantic_map)))


def test_the_order_of_gaussians_does_not_change_the_instances():
    things = [(box_surface((x * 0.5, 0, 0.1), (0.2, 0.2, 0.2), seed=x), (RED, BLUE, RED)[x]) for x in range(3)]
    semantic_map = scene(*things)
    order = torch.randperm(len(semantic_map.gaussians), generator=torch.Generator().manual_seed(0))
    level = semantic_map.levels["wp"]
    shuffled = map_of(
        semantic_map.gaussians.means[order].numpy(), level.track_of_gaussian[order], level.codebook.entries
    )
    expected = [frozenset(x) for x in ids(ask(semantic_map))]
    assert {frozenset(order[list(x)].tolist()) for x in ids(ask(shuffled))} == set(expected)


def test_turning_the_world_and_its_up_turns_the_box():
    red = box_surface((0, 0, 0.15), (0.4, 0.2, 0.3))
    turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # up becomes +y
    plain, turned = upright_box(red, np.array([0, 0, 1.0])), upright_box(red @ turn.T, np.array([0, 1.0, 0]))
    np.testing.assert_allclose(turned.size, plain.size, atol=1e-3)
    np.testing.assert_allclose(turned.center, turn @ plain.center, atol=1e-3)
    np.testing.assert_allclose(turned.rotation[:, 2], [0, 1, 0], atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 135])
def test_the_box_of_a_turned_thing_turns_with_it_and_holds_it(degrees):
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    points = box_surface((0, 0, 0.15), (0.5, 0.2, 0.3)) @ turn.T + np.array([3.0, 4.0, 0])
    box = upright_box(points, np.array([0, 0, 1.0]))
    np.testing.assert_allclose(box.size, [0.5, 0.2, 0.3], atol=0.02)
    assert abs(box.rotation[:, 0] @ turn[:, 0]) > np.cos(np.radians(3))
    assert np.linalg.det(box.rotation) == pytest.approx(1.0)
    assert share_inside(box, points, 0.01) > 0.99


def test_a_few_stray_gaussians_do_not_grow_the_box():
    points = box_surface((0, 0, 0.15), (0.5, 0.2, 0.3))
    strays = np.random.default_rng(0).uniform(-1.0, 1.0, (len(points) // 200, 3)).astype(np.float32)
    box = upright_box(np.concatenate([points, strays]), np.array([0, 0, 1.0]))
    np.testing.assert_allclose(box.size, [0.5, 0.2, 0.3], atol=0.03)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_two_or_three_points_have_a_box(count):
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 1]], np.float32)[:count]
    box = upright_box(points, np.array([0, 0, 1.0]))
    assert np.isfinite(box.size).all() and np.isfinite(box.center).all()


@pytest.mark.parametrize("up", [(0, 0, 1), (0, -1, 0), (1, 0, 0), (0.3, -0.9, 0.1)])
def test_level_axes_are_right_handed_and_end_with_up(up):
    axes = level_axes(np.array(up, dtype=float))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    np.testing.assert_allclose(axes[2], np.array(up) / np.linalg.norm(up))


def test_the_index_lists_the_gaussians_of_a_track_by_hand():
    level = SemanticLevel(
        track_of_gaussian=torch.tensor([2, NONE, 0, 2, 0], dtype=torch.int32),
        confidence=torch.full((5,), 255, dtype=torch.uint8),
        entry_of_track=torch.tensor([1, 0, NONE]),
        codebook=codebook_of(torch.eye(2)),
    )
    index = TrackIndex.of(level)
    assert index.count.tolist() == [2, 0, 2]
    gaussian, place = index.gaussians_of(np.array([2, 1, 0]))
    assert gaussian.tolist() == [0, 3, 2, 4]
    assert place.tolist() == [0, 0, 2, 2]
    relevancy = torch.tensor([0.25, 0.75])
    assert relevancy_of_tracks(level, relevancy).tolist() == [0.75, 0.25, 0.0]
    assert relevancy_of_gaussians(level, relevancy).tolist() == [0.0, 0.0, 0.75, 0.0, 0.75]


def test_from_votes_to_an_answer_two_red_boxes_and_a_blue_one_are_told_apart():
    boxes = [box_surface((x, 0, 0.1), (0.2, 0.2, 0.2), seed=i) for i, x in enumerate((0.0, 0.3, 0.6))]
    points = np.concatenate(boxes)
    thing = torch.repeat_interleave(torch.arange(3), torch.tensor([len(b) for b in boxes]))
    colours = torch.stack([RED, BLUE, RED])
    mapper = Mapper(len(points))
    generator = torch.Generator().manual_seed(0)
    for i in range(8):
        noisy = normalize(colours + 0.1 * torch.randn(3, 8, generator=generator), dim=1)
        facing = torch.as_tensor(points @ [np.cos(i), np.sin(i), 0.0]).float()
        is_visible = facing > facing.quantile(0.3)  # the far end is out of sight
        segment, rows = thing.clone(), noisy
        if i == 3:  # the last box is cut in two
            segment = torch.where((thing == 2) & torch.as_tensor(points[:, 1] > 0), 3, thing)
            rows = torch.cat([noisy, noisy[2:]])
        if i == 5:  # the first two run together
            segment = torch.where(thing == 1, 0, thing)
        mapper.add(segment, rows, is_visible)
    mapper.merge()
    semantic_map = SemanticMap(gaussians=gaussians_at(points), levels={"sp": mapper.level()}, encoder="test/1")
    found = ask(semantic_map, level="sp")
    assert len(found.instances) == 2
    for instance in found.instances:
        inside = thing[instance.gaussian_ids]
        winner = inside.mode().values
        assert winner != 1
        assert (inside == winner).float().mean() > 0.99
        assert len(inside) > 0.95 * (thing == winner).sum()
