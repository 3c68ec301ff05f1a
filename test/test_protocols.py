# SPDX-License-Identifier: Apache-2.0
"""The published protocols on cases worked out by hand, and against slow and plain computations of the same."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer, Box, Instance, Prompt
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.evaluation.langsplat_2d import (
    is_peak_inside,
    langsplat_2d,
    majority,
    mean_filtered,
    relevancy_mask,
)
from ccl_lgs_ros.evaluation.multiclass_2d import (
    THRESHOLDS,
    label_image,
    multiclass_2d,
    response_and_size,
    stable_choice,
)
from ccl_lgs_ros.evaluation.peer_scores import PeerScores, PeerUnit
from ccl_lgs_ros.evaluation.points import CLASS_SETS, NYU40, class_units, scannet_points, volume_weighted
from ccl_lgs_ros.evaluation.selection_3d import opengaussian_3d

SIZE = 120
CAMERA = Camera(width=SIZE, height=SIZE, fx=100.0, fy=100.0, cx=60.0, cy=60.0)


def block(top: int, bottom: int, left: int, right: int, value: float = 1.0, size: int = SIZE) -> NDArray[np.float64]:
    """Zero but for rows top to bottom - 1, columns left to right - 1."""
    image = np.zeros((size, size))
    image[top:bottom, left:right] = value
    return image


@dataclass
class FakeView:
    masks: dict[str, NDArray[np.bool_]]
    boxes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    stem: str = "frame_00001"
    camera: Camera = CAMERA
    world_from_camera: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    depth: NDArray[np.float32] | None = None


class FakeRelevancies:
    """The same relevancy images [H, W] by prompt and level in every view; notes what it was asked for."""

    def __init__(self, images: dict[str, list[NDArray[np.float64]]]) -> None:
        self.images, self.asked = images, []

    def relevancies(self, prompts, camera, world_from_camera) -> dict[str, NDArray[np.float64]]:
        self.asked.append(list(prompts))
        return {level: np.stack([self.images[prompt][index] for prompt in prompts]) for index, level in enumerate("sw")}


# LangSplat 2D


def test_the_mean_filter_takes_15_pixels_before_and_14_after() -> None:
    image = block(60, 61, 60, 61)
    spread = mean_filtered(image) * 900
    expected = np.zeros((SIZE, SIZE))
    expected[60 - 14 : 60 + 16, 60 - 14 : 60 + 16] = 1.0  # the pixels whose window reaches (60, 60)
    assert np.allclose(spread, expected)


def test_the_mean_filter_mirrors_about_the_outermost_pixels() -> None:
    ramp = np.tile(np.arange(SIZE, dtype=np.float64), (SIZE, 1))
    # Columns -15 to 14 mirror to 15, 14, ..., 1, 0, 1, ..., 14: their sum is 120 + 105.
    assert mean_filtered(ramp)[50, 0] == pytest.approx(225 / 30)


def test_a_majority_is_over_half_of_seven_by_seven() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:20] = True
    mask[30, 30] = True
    smooth = majority(mask)
    assert not smooth[30, 30]  # 1 of 49
    assert smooth[10, 15]  # on an edge: 4 of 7 rows
    assert not smooth[9, 15]  # beside it: 3 of 7
    assert not smooth[10, 10]  # at a corner: 16 of 49
    assert smooth[11, 11]  # 25 of 49


def test_a_majority_agrees_with_counting_windows_one_by_one() -> None:
    mask = np.random.default_rng(0).uniform(size=(17, 12)) > 0.5
    height, width = mask.shape
    expected = np.zeros_like(mask)
    for i in range(height):
        for j in range(width):  # cut off at the border; the last row and column have no vote
            window = mask[max(0, i - 3) : min(i + 4, height - 1), max(0, j - 3) : min(j + 4, width - 1)]
            expected[i, j] = window.sum() * 2 > window.size
    assert (majority(mask) == expected).all()


def test_a_mask_is_what_exceeds_seven_tenths_of_the_half_smoothed_range() -> None:
    # A strip 60 wide, R = 1 inside. At its left edge 15 of the 30 columns 15 to 44 lie in it, so R = (1 + 15/30) / 2
    # = 0.75 is kept; one column farther left R = (14/30) / 2 = 0.23 is not.
    strip = block(0, SIZE, 30, 90)
    kept = relevancy_mask([strip])
    assert (kept == strip.astype(bool)).all()
    # Where R must exceed 0.75, the edge column goes, and the 3 kept columns of its 7 do not bring it back.
    stricter = relevancy_mask([strip], threshold=0.5 + 1e-6)
    assert not stricter[:, 30].any()
    assert stricter[:, 31].all()


def test_the_threshold_is_relative_so_that_faint_relevancy_is_kept_as_well() -> None:
    strip = block(0, SIZE, 30, 90)
    assert (relevancy_mask([0.45 + 0.01 * strip]) == relevancy_mask([strip])).all()
    assert not relevancy_mask([np.full((SIZE, SIZE), 0.9)]).any()  # nothing stands out


def test_the_level_with_the_highest_half_smoothed_peak_is_cut() -> None:
    speck = block(10, 12, 10, 12, 0.9)  # R = (0.9 + 0.9 * 4/900) / 2 = 0.452
    plain = block(40, 100, 40, 100, 0.5)  # R = 0.5
    assert relevancy_mask([speck, plain])[70, 70]
    assert not relevancy_mask([speck, plain])[:20, :20].any()
    assert not relevancy_mask([speck * 1.2, plain])[70, 70]  # R = 0.542


def test_a_peak_is_looked_for_in_the_smoothed_image_alone() -> None:
    speck_and_plain = block(10, 12, 10, 12) + block(50, 90, 50, 90, 0.5)
    around_plain, around_speck = np.array([[60.0, 60.0, 80.0, 80.0]]), np.array([[5.0, 5.0, 15.0, 15.0]])
    assert is_peak_inside([speck_and_plain], around_plain)
    assert not is_peak_inside([speck_and_plain], around_speck)


def test_any_of_tied_peaks_may_lie_in_any_box_whichever_way_its_corners_are_given() -> None:
    two = block(10, 45, 10, 45) + block(70, 105, 70, 105)  # A = 1 where 30 x 30 lie inside: rows 25 to 30, 85 to 90
    assert is_peak_inside([two], np.array([[0.0, 0.0, 1.0, 1.0], [90.0, 90.0, 85.0, 85.0]]))
    assert is_peak_inside([two], np.array([[25.0, 25.0, 25.0, 25.0]]))
    assert not is_peak_inside([two], np.array([[32.0, 32.0, 60.0, 60.0]]))
    assert not is_peak_inside([two], np.array([[25.0, 85.0, 30.0, 90.0]]))  # rows and columns are not mixed up


def test_the_level_of_the_highest_smoothed_peak_says_where() -> None:
    low, high = block(10, 50, 10, 50, 0.5), block(60, 110, 60, 110, 0.6)
    box = np.array([[20.0, 20.0, 40.0, 40.0]])
    assert not is_peak_inside([low, high], box)
    assert is_peak_inside([low * 1.4, high], box)
    assert not is_peak_inside([np.zeros((SIZE, SIZE))], np.array([[0.0, 0.0, SIZE, SIZE]]))


def test_a_scene_has_a_unit_for_each_prompt_in_each_view() -> None:
    strip = block(0, SIZE, 30, 90)
    nothing = np.zeros((SIZE, SIZE))
    subject = FakeRelevancies({"mug": [strip, nothing], "cup": [nothing, nothing]})
    half = block(0, SIZE, 30, 60).astype(bool)
    box = np.array([[30.0, 0.0, 59.0, 119.0]])
    first = FakeView({"mug": half, "cup": half}, {"mug": box, "cup": box})
    second = FakeView({"mug": strip.astype(bool)}, {"mug": np.array([[0.0, 0.0, 9.0, 9.0]])}, stem="frame_00002")
    units = langsplat_2d(subject, [first, second])
    assert [(unit.prompt, unit.view) for unit in units] == [
        ("mug", "frame_00001"),
        ("cup", "frame_00001"),
        ("mug", "frame_00002"),
    ]
    assert [unit.values["iou"] for unit in units] == [0.5, 0.0, 1.0]
    assert [unit.values["localised"] for unit in units] == [1.0, 0.0, 0.0]
    assert subject.asked == [["mug", "cup"], ["mug"]]


# OpenGaussian 3D


class FakeSelection:
    """Answers some prompts; draws one alpha image for whatever it answered."""

    def __init__(self, alpha: dict[str, NDArray[np.float64]]) -> None:
        self.alpha, self.asked = alpha, []

    def ask(self, prompt: str) -> Answer:
        self.asked.append(prompt)
        box = Box(center=np.zeros(3), rotation=np.eye(3), size=np.ones(3))
        ids = torch.zeros(0, dtype=torch.int64)
        found = Instance(id=0, level="wp", score=0.9, centroid=np.zeros(3), box=box, gaussian_ids=ids)
        return Answer(
            prompt=Prompt(text=prompt, feature=torch.ones(1)),
            instances=(found,) if prompt in self.alpha else (),
            best_score=0.9,
            threshold=0.5,
            level="wp",
            map_version=1,
            message="",
        )

    def silhouette(self, answer: Answer, camera: Camera, world_from_camera: NDArray[np.float64]) -> NDArray:
        return self.alpha[answer.prompt.text]


def test_a_silhouette_begins_above_seven_tenths_and_what_is_missing_scores_nothing() -> None:
    alpha = block(0, SIZE, 0, 60, 0.71) + block(0, SIZE, 60, 120, 0.7)
    subject = FakeSelection({"mug": alpha})
    left, third = block(0, SIZE, 0, 60).astype(bool), block(0, SIZE, 0, 20).astype(bool)
    views = [FakeView({"mug": left, "ghost": left}), FakeView({"mug": third}, stem="frame_00002")]
    units = opengaussian_3d(subject, views)
    assert [unit.values for unit in units] == [
        {"iou": 1.0, "acc25": 1.0, "acc50": 1.0},
        {"iou": 0.0, "acc25": 0.0, "acc50": 0.0},
        {"iou": pytest.approx(1 / 3), "acc25": 1.0, "acc50": 0.0},
    ]
    assert subject.asked == ["mug", "ghost"]  # a prompt once, however many views show it


# 3D-OVS


def test_response_and_size_agree_with_cutting_at_each_threshold() -> None:
    image = np.random.default_rng(1).uniform(size=(9, 7))
    response, size = response_and_size(image)
    for index, threshold in enumerate(THRESHOLDS):
        above = image[image > threshold]
        assert size[index] == pytest.approx(len(above) / image.size)
        assert response[index] == pytest.approx(above.mean() if len(above) else 0.0)


def test_a_two_valued_image_is_stable_between_its_values() -> None:
    level, threshold = stable_choice([block(40, 80, 40, 80)])
    assert level == 0
    # Size and response are the same from 0.01 to 0.99, so the run is everything and its middle one half.
    assert threshold == pytest.approx(0.5)


def test_the_level_whose_response_changes_least_is_chosen() -> None:
    # Half of it 1, half a ramp from 0 to 1: above t the mean is (1 + (1 - t^2) / 2) / (2 - t), from 3/4 to 1.
    ramp, flat = block(40, 60, 40, 80), block(40, 80, 40, 80)
    ramp[60:80, 40:80] = np.linspace(0.0, 1.0, 40)
    assert stable_choice([ramp, flat])[0] == 1
    assert stable_choice([flat, ramp])[0] == 0


def test_specks_and_whole_images_are_never_stable() -> None:
    speck = block(40, 48, 40, 48)  # 64 of 14400: 0.0044 of the image
    assert stable_choice([speck, speck]) == (0, 0.5)
    whole = 1.0 - block(0, 10, 0, 10)  # all but 0.7 %
    assert stable_choice([speck, whole]) == (0, 0.5)
    assert stable_choice([speck, block(40, 50, 40, 50)])[0] == 1  # 0.0069 of the image


def test_pixels_go_to_the_class_of_highest_relevancy() -> None:
    left, right = block(0, SIZE, 0, 60), block(0, SIZE, 60, 120)
    # The wall answers everywhere a little, so the mug wins where it is better, and in one quarter of the wall too.
    mug = 0.8 * left + 0.7 * block(0, 60, 60, 120)
    wall = 0.6 * np.ones((SIZE, SIZE)) + 0.05 * right
    subject = FakeRelevancies({"mug": [mug, mug], "wall": [wall, wall]})
    view = FakeView({"mug": left.astype(bool), "wall": right.astype(bool)})
    units = {unit.prompt: unit.values for unit in multiclass_2d(subject, [view], ["mug", "wall"])}
    assert units["mug"]["iou"] == pytest.approx(2 / 3)  # half of the image of three quarters
    assert units["wall"]["iou"] == pytest.approx(1 / 2)
    assert units[""] == {"accuracy": pytest.approx(3 / 4)}


def test_what_has_no_label_counts_nowhere_and_absent_classes_have_no_score() -> None:
    left = block(0, SIZE, 0, 60)
    everywhere = np.full((SIZE, SIZE), 0.9)
    subject = FakeRelevancies({"mug": [everywhere, everywhere], "sofa": [0 * left, 0 * left]})
    units = multiclass_2d(subject, [FakeView({"mug": left.astype(bool)}), FakeView({})], ["mug", "sofa"])
    assert [unit.prompt for unit in units] == ["mug", ""]
    assert units[0].values["iou"] == 1.0


def test_the_first_class_keeps_pixels_that_two_masks_claim() -> None:
    first, second = np.array([[True, True, False, False]]), np.array([[False, True, True, False]])
    assert label_image({"b": second, "a": first}, ["a", "b"]).tolist() == [[0, 0, 1, -1]]


# Points


class FakePoints:
    def __init__(self, means, classes, opacities=None, scales=None) -> None:
        self.means = np.asarray(means, dtype=np.float64)
        self.classes = classes  # by name or None
        self.opacities = np.ones(len(self.means)) if opacities is None else np.asarray(opacities)
        self.scales = np.ones((len(self.means), 3)) if scales is None else np.asarray(scales)

    def classes_of_gaussians(self, names) -> NDArray[np.int64]:
        return np.array([names.index(name) if name in names else -1 for name in self.classes])


WALL, CHAIR, PICTURE, CLOTHES = 1, 5, 11, 21
PLACES = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0], [5, 0, 0]])


def values_of(units) -> dict[str, dict[str, float]]:
    return {unit.prompt: dict(unit.values) for unit in units}


def test_classes_are_nyu40_labels_in_three_nested_sets() -> None:
    assert {size: len(ids) for size, ids in CLASS_SETS.items()} == {19: 19, 15: 15, 10: 10}
    assert set(CLASS_SETS[10]) < set(CLASS_SETS[15]) < set(CLASS_SETS[19]) == set(NYU40)
    assert NYU40[33] == "toilet"


def test_iou_and_recall_of_vertices_worked_out_by_hand() -> None:
    labels = np.array([WALL, WALL, WALL, CHAIR, CLOTHES, 0])  # clothes are none of the 19
    subject = FakePoints(PLACES, ["wall", "wall", "chair", "chair", "wall", "wall"])
    assert values_of(scannet_points(subject, PLACES, labels)) == {
        "wall": {"iou": pytest.approx(2 / 3), "accuracy": pytest.approx(2 / 3)},
        "chair": {"iou": 0.5, "accuracy": 1.0},
    }


def test_a_smaller_class_set_asks_for_and_scores_fewer_names() -> None:
    labels = np.array([WALL, PICTURE, PICTURE, CHAIR, 0, 0])
    subject = FakePoints(PLACES, ["wall", "picture", "wall", "chair", "wall", "wall"])
    assert values_of(scannet_points(subject, PLACES, labels))["wall"]["iou"] == 0.5
    assert set(values_of(scannet_points(subject, PLACES, labels, 15))) == {"wall", "chair"}
    assert values_of(scannet_points(subject, PLACES, labels, 15))["wall"]["iou"] == 1.0


def test_a_vertex_whose_own_gaussian_is_transparent_is_left_out() -> None:
    labels = np.array([WALL, WALL, WALL, CHAIR, CHAIR, CHAIR])
    classes = ["wall", "chair", "wall", "chair", "chair", "chair"]
    clear = FakePoints(PLACES, classes, opacities=[1, 0.09, 1, 1, 1, 1])
    assert values_of(scannet_points(clear, PLACES, labels))["wall"]["iou"] == 1.0
    solid = FakePoints(PLACES, classes, opacities=[1, 0.1, 1, 1, 1, 1])
    assert values_of(scannet_points(solid, PLACES, labels))["wall"]["iou"] == pytest.approx(2 / 3)


def test_elsewhere_a_vertex_has_the_class_of_the_nearest_gaussian_that_shows() -> None:
    labels = np.array([WALL, WALL, WALL, CHAIR, CHAIR, CHAIR])
    # Gaussians between the vertices: the third is nearest to the vertices 2 and 3, but transparent.
    subject = FakePoints(
        [[0.5, 0, 0], [2.4, 0.1, 0], [2.5, 0, 0], [4.5, 0, 0]],
        ["wall", "wall", "sofa", "chair"],
        opacities=[1, 1, 0.05, 1],
    )
    assert values_of(scannet_points(subject, PLACES, labels)) == {
        "wall": {"iou": pytest.approx(3 / 4), "accuracy": 1.0},
        "chair": {"iou": pytest.approx(2 / 3), "accuracy": pytest.approx(2 / 3)},
    }


def test_what_has_no_class_is_wrong_but_belongs_to_no_other() -> None:
    labels = np.array([WALL, WALL, CHAIR, CHAIR, 0, 0])
    subject = FakePoints(PLACES, ["wall", None, "chair", "chair", None, None])
    scored = values_of(scannet_points(subject, PLACES, labels))
    assert scored["wall"] == {"iou": 0.5, "accuracy": 0.5}
    assert scored["chair"] == {"iou": 1.0, "accuracy": 1.0}
    nothing = FakePoints(PLACES[:2] + 0.5, ["wall", "wall"], opacities=[0, 0])
    assert values_of(scannet_points(nothing, PLACES, labels))["wall"]["iou"] == 0.0


def test_gaussians_weigh_as_much_as_their_volume_times_their_opacity() -> None:
    labels = np.array([WALL, WALL, WALL, CHAIR, CHAIR, 0])
    # Weights 8 * 0.5 = 4, 1, 1 for the wall, of which the 4 are right; 6 * 1 and 1 for the chairs, both right.
    subject = FakePoints(
        PLACES,
        ["wall", "chair", "chair", "chair", "chair", "wall"],
        opacities=[0.5, 1, 1, 1, 1, 1],
        scales=[[2, 2, 2], [1, 1, 1], [1, 1, 1], [1, 2, 3], [1, 1, 1], [9, 9, 9]],
    )
    assert values_of(volume_weighted(subject, PLACES, labels)) == {
        "wall": {"iou": pytest.approx(4 / 6), "accuracy": pytest.approx(4 / 6)},
        "chair": {"iou": pytest.approx(7 / 9), "accuracy": 1.0},
    }
    unweighted = values_of(scannet_points(subject, PLACES, labels))
    assert unweighted["wall"]["iou"] == pytest.approx(1 / 3)


def test_a_gaussian_far_from_every_vertex_has_no_true_class() -> None:
    labels = np.array([WALL, WALL, WALL, CHAIR, CHAIR, CHAIR])
    places = np.concatenate([PLACES, [[0, 0.04, 0], [0, 0.06, 0]]])
    classes = ["wall"] * 3 + ["chair"] * 5
    near = values_of(volume_weighted(FakePoints(places, classes), PLACES, labels))
    assert near["wall"]["iou"] == pytest.approx(3 / 4)  # the one at 4 cm counts, the one at 6 cm does not


def test_equal_weights_change_nothing() -> None:
    generator = np.random.default_rng(2)
    truth, predicted = generator.integers(-1, 3, 50), generator.integers(-1, 3, 50)
    names = ["a", "b", "c"]
    assert class_units(truth, predicted, names) == class_units(truth, predicted, names, np.full(50, 2.0))


# Means


def test_both_means_over_scenes_are_reported() -> None:
    scores = PeerScores(
        protocol="p",
        scenes={
            "ramen": (PeerUnit(prompt="egg", view="1", values={"iou": 1.0}),),
            "teatime": tuple(PeerUnit(prompt="mug", view=str(i), values={"iou": 0.0}) for i in range(3)),
        },
    )
    assert scores.scene_macro("iou") == 0.5
    assert scores.query_weighted("iou") == 0.25
    figures = json.loads(json.dumps(scores.to_json()))
    assert figures["scene_macro"] == {"iou": 0.5}
    assert figures["scenes"]["teatime"]["figures"] == {"iou": 0.0}
    assert figures["scenes"]["ramen"]["units"] == [{"prompt": "egg", "view": "1", "iou": 1.0}]
    assert "0.500" in str(scores) and "0.250" in str(scores) and "teatime" in str(scores)


def test_a_figure_is_averaged_over_the_units_that_have_it() -> None:
    units = (
        PeerUnit(prompt="mug", view="1", values={"iou": 0.5}),
        PeerUnit(prompt="", view="1", values={"accuracy": 0.9}),
    )
    scores = PeerScores(protocol="p", scenes={"bed": units, "bench": ()})
    assert scores.scene_macro("iou") == 0.5
    assert scores.query_weighted("accuracy") == 0.9
    assert scores.scene_macro("nothing") is None
    assert "mug" in str(PeerScores(protocol="p", scenes={"bed": units}))
