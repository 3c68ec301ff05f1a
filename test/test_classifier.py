# SPDX-License-Identifier: Apache-2.0
"""A classifier and a table of text vectors as a language space: by hand, and on a real kitchen."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from capture_records import ListStore

from ccl_lgs_ros.capture import capture_bag, check_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError
from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.options import MaskOptions
from ccl_lgs_ros.perception import classifier
from ccl_lgs_ros.perception.builtin_segmenter import BuiltinSegmenter
from ccl_lgs_ros.perception.classifier import (
    ClassifierEncoder,
    agreed,
    class_vectors,
    discounted,
    negative_vectors,
    square_crop,
    with_unsaid,
)
from ccl_lgs_ros.perception.classifier_runtime import Classifier, as_probabilities, runtime_lack
from ccl_lgs_ros.perception.text_tables import TextTable

NAMES = ["tomato", "plum", "grass", "sky"]
VECTORS = np.array([[3, 1, 0], [1, 3, 0], [-2, -2, 2], [-2, -2, -2]], np.float32)
LABELS = ["tomato, love apple", "lawn grass", "sky", "nothing known"]


class ByColour:
    """A classifier that calls red tomato, green grass, blue sky, by the mean colour of a crop."""

    size = (8, 8)
    calls = 0

    def __init__(self, path: str) -> None:
        pass

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        ByColour.calls += len(crops)
        colour = np.maximum(crops.reshape(len(crops), -1, 3).mean(axis=1) - 100.0, 0.1)
        scores = np.concatenate([colour, np.full((len(crops), 1), 40.0)], axis=1)
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    np.save(tmp_path / "vectors.npy", VECTORS)
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    return {
        "encoder_model": str(tmp_path / "model.tflite"),
        "classifier_labels": str(tmp_path / "labels.txt"),
        "text_tables": f"{tmp_path / 'vectors.npy'}={tmp_path / 'names.json'}",
    }


def made(files: dict[str, str], **changes) -> ClassifierEncoder:
    options = {"classifier_top": 10, "encoder_batch": 4, "negatives": "object", "relevancy": "pairwise"}
    return ClassifierEncoder(**{**options, "sharpness": 10.0, **files, **changes})


@pytest.fixture
def encoder(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ClassifierEncoder:
    monkeypatch.setattr(classifier, "Classifier", ByColour)
    ByColour.calls = 0
    return made(files)


def scene() -> tuple[np.ndarray, torch.Tensor]:
    """A red square, a green one and a grey one on black."""
    image, labels = np.zeros((30, 60, 3), np.uint8), torch.full((30, 60), -1, dtype=torch.int32)
    for number, colour in enumerate([(250, 20, 20), (20, 250, 20), (100, 100, 100)]):
        image[5:25, 20 * number : 20 * number + 18] = colour
        labels[5:25, 20 * number : 20 * number + 18] = number
    return image, labels


def table(names: dict[str, list[float]]) -> TextTable:
    vectors = torch.nn.functional.normalize(torch.tensor(list(names.values())), dim=1)
    return TextTable(vectors=vectors, rows={name: (row,) for row, name in enumerate(names)})


def test_a_prompt_finds_what_the_classifier_calls_so(encoder: ClassifierEncoder) -> None:
    features = encoder.encode_segments(*scene(), 3)
    assert features.shape == (3, encoder.dim) == (3, 4)
    assert torch.allclose(features.norm(dim=1), torch.ones(3), atol=1e-6)
    for name, best in (("tomato", 0), ("grass", 1)):
        relevancy = encoder.relevancy(features, encoder.understand(name))
        assert relevancy.argmax() == best
        assert relevancy[best] > encoder.threshold
        assert relevancy[2] < encoder.threshold


def test_a_prompt_finds_what_is_near_it_in_the_table_alone(encoder: ClassifierEncoder) -> None:
    features = encoder.encode_segments(*scene(), 3)
    relevancy = encoder.relevancy(features, encoder.understand("plum"))  # no class is called so
    assert relevancy.argmax() == 0
    assert relevancy[0] > 0.5 > relevancy[1]


def test_words_outside_the_table_are_reported(encoder: ClassifierEncoder) -> None:
    prompt = encoder.understand("ripe tomato")
    assert prompt.is_understood
    assert prompt.unknown_words == ("ripe",)
    assert prompt.encoder == encoder.identity
    nonsense = encoder.understand("zebra")
    assert not nonsense.is_understood
    assert encoder.relevancy(torch.eye(4), nonsense).tolist() == [0.0] * 4


def test_a_segment_without_pixels_says_nothing(encoder: ClassifierEncoder) -> None:
    image, labels = scene()
    features = encoder.encode_segments(image, labels, 4)
    assert features[3].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert encoder.relevancy(features, encoder.understand("tomato"))[3] == 0.5
    assert encoder.encode_segments(image, labels, 0).shape == (0, 4)


def test_a_segment_of_both_levels_is_classified_once(encoder: ClassifierEncoder) -> None:
    image, labels = scene()
    first = encoder.encode_segments(image, labels, 3)
    assert ByColour.calls == 3 * 3
    assert torch.equal(encoder.encode_segments(image, labels, 3), first)
    assert ByColour.calls == 3 * 3
    encoder.encode_segments(image + 1, labels, 3)
    assert ByColour.calls == 2 * 3 * 3


def test_batches_do_not_change_features(files, encoder: ClassifierEncoder) -> None:
    at_once = made(files, encoder_batch=4096)
    assert torch.equal(at_once.encode_segments(*scene(), 3), encoder.encode_segments(*scene(), 3))


def test_the_identity_is_that_of_the_files(files, encoder: ClassifierEncoder) -> None:
    assert encoder.identity.startswith("classifier/")
    assert made(files, sharpness=3.0).identity == encoder.identity
    assert made(files, classifier_top=2).identity != encoder.identity
    Path(files["encoder_model"]).write_bytes(b"another model")
    assert made(files).identity != encoder.identity


def test_labels_that_do_not_fit_the_model_are_an_error(files, encoder: ClassifierEncoder) -> None:
    Path(files["classifier_labels"]).write_text("tomato\nsky\n")
    with pytest.raises(ConfigError, match="2 lines, the model 4 classes"):
        made(files).encode_segments(*scene(), 3)
    Path(files["classifier_labels"]).write_text("zebra\n")
    with pytest.raises(ConfigError, match="no class"):
        made(files)


def test_a_class_has_the_names_that_it_is_or_else_those_in_it() -> None:
    known = table({"mug": [1.0, 0.0, 0.0], "coffee": [0.0, 1.0, 0.0], "desk": [0.0, 0.0, 1.0]})
    vectors, classes = class_vectors(known, ["background", "coffee mug", "desk, coffee stand"])
    assert classes.tolist() == [1, 2]
    third = 1.0 / 3.0  # the table's mean
    both = torch.nn.functional.normalize(torch.tensor([0.5 - third, 0.5 - third, -third]), dim=0)
    assert torch.allclose(vectors[0], both)
    alone = torch.nn.functional.normalize(torch.tensor([-third, -third, 1.0 - third]), dim=0)
    assert torch.allclose(vectors[1], alone)


def test_the_middle_of_the_table_stands_for_unknown_negatives() -> None:
    known = table({"mug": [1.0, 0.0], "thing": [-1.0, 0.0]})
    assert negative_vectors(known, ("object", "stuff")).tolist() == [[0.0, 0.0, 0.0]]
    assert negative_vectors(known, ("things",)).tolist() == [[-1.0, 0.0, 0.0]]
    assert negative_vectors(known, ("object", "thing")).tolist() == [[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_the_less_is_said_the_more_is_left_unsaid() -> None:
    sums = torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.0, 1.0]])
    features = with_unsaid(sums)
    said = 1 - np.exp(-1)
    assert features[0].tolist() == [0.0, 0.0, 1.0]
    assert features[1].tolist() == pytest.approx([said, 0.0, (1 - said**2) ** 0.5])
    assert features[2, 1] > 0.98
    assert torch.allclose(features.norm(dim=1), torch.ones(3))


def test_crops_that_disagree_cancel_out() -> None:
    views = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.2], [0.8, 0.2]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    got = agreed(views)
    assert got[0].tolist() == pytest.approx([0.5, 0.5])
    assert got[1].tolist() == pytest.approx([0.8, 0.2], abs=1e-3)
    assert got[2].tolist() == [0.0, 0.0]


def test_what_all_segments_of_an_image_look_like_counts_less() -> None:
    alike = np.tile(np.array([[0.8, 0.2]], np.float32), (92, 1))
    alike[0] = [0.5, 0.5]
    got = discounted(alike)
    share = [(0.8 * 91 + 0.5 + 4) / 100, (0.2 * 91 + 0.5 + 4) / 100]
    by_hand = np.array([0.5, 0.5]) / np.sqrt(share)
    assert got[0].tolist() == pytest.approx((by_hand / by_hand.sum()).tolist())
    assert got[0, 1] > 0.6
    assert got.sum(axis=1).tolist() == pytest.approx([1.0] * 92)


def test_a_lone_segment_keeps_most_of_what_was_said() -> None:
    alone = np.zeros((1, 1000), np.float32)
    alone[0, :2] = (0.9, 0.1)
    assert discounted(alone)[0, 0] > 0.7


def test_a_crop_is_a_square_around_the_mask() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:6] = True
    mask[2, 2] = False
    whole = square_crop(image, mask, (4, 4), 0.0, False)
    assert np.array_equal(whole, image[0:4, 2:6])
    masked = square_crop(image, mask, (4, 4), 0.0, True)
    assert np.array_equal(masked[1], image[1, 2:6])
    assert (masked[0] == 128).all()
    assert (masked[2, 0] == 128).all()
    wide = square_crop(image, mask, (8, 8), 0.5, False)
    assert np.array_equal(wide[2:8], image)
    assert (wide[:2] == 128).all()


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    assert as_probabilities(np.array([[0.25, 0.75]])).tolist() == [0.25, 0.75]
    assert as_probabilities(np.array([0.0, np.log(3.0)])).tolist() == pytest.approx([0.25, 0.75])
    assert as_probabilities(np.array([-1.0, -1.0])).tolist() == [0.5, 0.5]


def fake_onnx(monkeypatch: pytest.MonkeyPatch, shape: list, kind: str) -> list[np.ndarray]:
    """An ONNX Runtime whose every model returns [0.5, 0.5] and notes what it was given."""
    given: list[np.ndarray] = []

    class InferenceSession:
        def __init__(self, path: str, providers: list[str]) -> None:
            if b"not" in Path(path).read_bytes():
                raise RuntimeError("[ONNXRuntimeError] : 7\nprotobuf parsing failed")

        def get_inputs(self) -> list:
            return [SimpleNamespace(name="image", shape=shape, type=kind)]

        def run(self, outputs: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            given.append(feed["image"])
            return [np.array([[0.5, 0.5]], np.float32)]

    module = ModuleType("onnxruntime")
    module.__dict__.update(InferenceSession=InferenceSession, __spec__=SimpleNamespace(name="onnxruntime"))
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return given


@pytest.mark.parametrize(
    ("shape", "kind", "size", "expected"),
    [
        (["N", 3, 2, 4], "tensor(float)", (2, 4), (1.0 - 0.485) / 0.229),
        ([1, 2, 4, 3], "tensor(float)", (2, 4), 1.0),
        ([1, 2, 4, 3], "tensor(uint8)", (2, 4), 255),
        ([1, 3, "h", "w"], "tensor(int8)", (224, 224), 127),
    ],
)
def test_an_onnx_model_gets_pixels_in_its_own_layout(tmp_path, monkeypatch, shape, kind, size, expected) -> None:
    given = fake_onnx(monkeypatch, shape, kind)
    (tmp_path / "model.onnx").write_bytes(b"fine")
    model = Classifier(str(tmp_path / "model.onnx"))
    assert model.size == size
    assert model.probabilities(np.full((2, *size, 3), 255, np.uint8)).tolist() == [[0.5, 0.5]] * 2
    assert given[0].shape == ((1, *size, 3) if shape[-1] == 3 else (1, 3, *size))
    assert given[0].flat[0] == pytest.approx(expected)


def test_a_model_that_cannot_be_loaded_is_one_sentence(tmp_path, monkeypatch) -> None:
    fake_onnx(monkeypatch, [1, 3, 4, 4], "tensor(float)")
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ConfigError, match="damaged or foreign") as error:
        Classifier(str(tmp_path / "model.onnx"))
    assert "\n" not in str(error.value)
    fake_onnx(monkeypatch, [1, 80], "tensor(float)")
    (tmp_path / "model.onnx").write_bytes(b"fine")
    with pytest.raises(ConfigError, match=r"takes \(1, 80\), expected RGB images"):
        Classifier(str(tmp_path / "model.onnx"))


def test_what_is_missing_is_named(tmp_path, monkeypatch) -> None:
    assert "no .tflite or .onnx file" in runtime_lack("ViT-B-16")
    assert "there is no file" in runtime_lack(str(tmp_path / "missing.onnx"))
    (tmp_path / "model.onnx").write_bytes(b"fine")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lack = runtime_lack(str(tmp_path / "model.onnx"))
    assert "pip install onnxruntime" in lack
    with pytest.raises(MissingDependencyError, match="pip install"):
        Classifier(str(tmp_path / "model.onnx"))
    assert ClassifierEncoder.is_available(encoder_model="", classifier_labels="", text_tables="")


def test_the_labels_and_tables_are_asked_for(files, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(name=name))
    assert ClassifierEncoder.is_available(**files) == ""
    reason = ClassifierEncoder.is_available(**{**files, "text_tables": ""})
    assert "perception.text_tables" in reason


# Where things are in images of the kitchen, by hand: x0, y0, x1, y1 in pixels.
KITCHEN = {
    0: {
        "mug": [(367, 162, 402, 204)],
        "chair": [(178, 128, 300, 340), (420, 149, 546, 215), (306, 377, 622, 480)],
    },
    32: {
        "mug": [(247, 343, 296, 400)],
        "chair": [(0, 304, 163, 480), (312, 282, 450, 349)],
        "computer monitor": [(530, 18, 640, 118)],
    },
}
ABSENT = ("airplane", "pizza", "bicycle", "horse", "banana", "car")


def options_of(models: Path) -> dict[str, str]:
    tables = {
        "lvis_v1_clip_a+cname.npy": "lvis1203_names.json",
        "oid_clip_a+cname.npy": "oid500_names.json",
        "o365_clip_a+cnamefix.npy": "Objects365_names_fix.csv",
        "coco_clip_a+cname.npy": "coco80_labels.txt",
    }
    return {
        "encoder_model": str(models / "mobilenet_v2_1.0_224_quant.tflite"),
        "classifier_labels": str(models / "imagenet_1001_labels.txt"),
        "text_tables": ",".join(f"{models / vectors}={models / names}" for vectors, names in tables.items()),
    }


def share_inside(mask: np.ndarray, boxes: list[tuple[int, int, int, int]]) -> float:
    inside = np.zeros(mask.shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0:y1, x0:x1] = True
    return float((mask & inside).sum() / mask.sum())


@pytest.fixture(scope="module")
def kitchen(shared_data: Path) -> tuple[ClassifierEncoder, torch.Tensor, list[tuple[int, np.ndarray]]]:
    """The features of all segments of two keyframes, with each segment's keyframe and mask."""
    encoder = made(options_of(shared_data / "models"), negatives="object,things,stuff,texture")
    bag = shared_data / "bags" / "redkitchen_rgbd_60"
    store, masks = ListStore(), MaskOptions()
    capture_bag(bag, store, updated(MapConfig(), check_bag(bag).settings))
    features, shown = [], []
    for number in KITCHEN:
        proposals = BuiltinSegmenter().propose(store[number])
        labels, quality = label_map(
            proposals,
            "sp",
            min_area_px=masks.min_area_px,
            min_quality=masks.min_quality,
            max_overlap=masks.max_overlap,
        )
        features.append(encoder.encode_segments(store[number].image, labels, len(quality)))
        shown += [(number, (labels == segment).numpy()) for segment in range(len(quality))]
    return encoder, torch.cat(features), shown


@pytest.mark.data
@pytest.mark.parametrize("name", ["mug", "chair", "computer monitor"])
def test_the_best_segment_of_a_kitchen_is_the_thing_asked_for(kitchen, name: str) -> None:
    encoder, features, shown = kitchen
    relevancy = encoder.relevancy(features, encoder.understand(name))
    number, mask = shown[int(relevancy.argmax())]
    print(f"{name}: {float(relevancy.max()):.3f} in keyframe {number}")
    assert share_inside(mask, KITCHEN[number][name]) >= 0.7
    assert relevancy.max() > encoder.threshold


@pytest.mark.data
def test_nothing_in_a_kitchen_is_what_it_does_not_hold(kitchen) -> None:
    encoder, features, _ = kitchen
    best = {name: float(encoder.relevancy(features, encoder.understand(name)).max()) for name in ABSENT}
    print("absent:", best)
    assert max(best.values()) < encoder.threshold
