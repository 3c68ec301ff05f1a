# SPDX-License-Identifier: Apache-2.0
"""How alike a real network finds views of one thing and of two: python benchmarks/similarity.py DATA.

DATA is a folder with `bags` and `models` (the recordings and the image classifier of the tests). Of each recording:

    objects   things that label images outline (label_fusion_rgbd_15), cut out of black
    places    points in space, 0.3 m of the image around each (redkitchen_rgbd_60), which need no labels

A feature is the pooled last layer of the classifier (1280 numbers), as CLIP's is of its image tower. Reported are the
mean cosine of two views of one thing (within), of two things (between), and what of the second is lost on the way to
the first, (1 - within) / (1 - between): 0 is a feature that no change of view moves, 1 one that tells nothing apart.
This share does not depend on what all images have in common, so it can be compared between networks. Within is given
for near views and for far ones as well, and with the cut-out made as small as a distant thing's.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.capture import capture_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.geometry import transform_points
from ccl_lgs_ros.label_views import labelled_views
from ccl_lgs_ros.storage.bag import Bag

RESULTS = Path(__file__).parent / "results" / "similarity.json"
LABELS = {48: "straws", 132: "box"}  # of label_fusion_rgbd_15
PLACE_SIZE, PLACE_APART = 0.3, 0.6  # metres
SMALL_PX = 24  # side that a cut-out is shrunk to, as of a thing far away
NEAR_ANGLE = np.deg2rad(10.0)
Floats = NDArray[np.floating]


class Memory(list):
    """Keyframes kept in memory."""

    entries = ()  # nothing was there before

    def append(self, keyframe: Keyframe) -> bool:  # type: ignore[override]
        super().append(keyframe)
        return True


class Classifier:
    """MobileNet v2; its pooled features, dequantised, of unit length."""

    def __init__(self, model: Path) -> None:
        self.net = Interpreter(str(model), num_threads=1, experimental_preserve_all_tensors=True)
        self.net.allocate_tensors()
        self.input = self.net.get_input_details()[0]
        pooled = [t for t in self.net.get_tensor_details() if tuple(t["shape"]) == (1, 1, 1, 1280)]
        self.pooled = pooled[-1]

    def feature(self, image: NDArray[np.uint8]) -> Floats:
        """[1280] of a square crop."""
        size = int(self.input["shape"][1])
        self.net.set_tensor(self.input["index"], cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)[None])
        self.net.invoke()
        scale, zero = self.pooled["quantization"]
        raw = self.net.get_tensor(self.pooled["index"]).astype(np.float64).ravel()
        raw = (raw - zero) * scale
        return raw / np.linalg.norm(raw)


def square(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The masked part of an image on a black square."""
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    cut = (image * mask[..., None])[top:bottom, left:right]
    side = max(cut.shape[:2])
    canvas = np.zeros((side, side, 3), np.uint8)
    y, x = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    canvas[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return canvas


def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same at the resolution of something far away."""
    return cv2.resize(image, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA)


def keyframes(path: Path) -> list[Keyframe]:
    """Every frame of a recording."""
    found = Memory()
    config = updated(MapConfig(), {"keyframes.min_translation": 0.0, "keyframes.min_sharpness": 0.0})
    capture_bag(path, found, config)  # type: ignore[arg-type]
    return list(found)


def object_crops(path: Path) -> tuple[list[NDArray[np.uint8]], list[int], list[Floats]]:
    """Crops, the thing of each and the direction that it was seen from, of the outlined objects."""
    with Bag(path) as bag:
        views = labelled_views(bag, "/ground_truth/segm", LABELS, MapConfig())
    by_stamp = {str(frame.stamp_ns): frame for frame in keyframes(path)}
    crops, things, directions = [], [], []
    for view in views:
        frame = by_stamp.get(view.stem)
        if frame is None:
            continue
        for thing, name in enumerate(LABELS.values()):
            mask = view.masks.get(name)
            if mask is not None and mask.sum() > 400:
                crops.append(square(frame.image, mask))
                things.append(thing)
                directions.append(frame.world_from_camera[:3, 2])
    return crops, things, directions


def place_crops(path: Path) -> tuple[list[NDArray[np.uint8]], list[int], list[Floats]]:
    """Crops around points in space that are seen, unoccluded, in several frames."""
    frames = keyframes(path)
    places = _places(frames)
    crops, things, directions = [], [], []
    for frame in frames[::2]:
        assert frame.depth is not None
        seen = transform_points(frame.camera_from_world, places)
        for index, (point, (u, v)) in enumerate(zip(seen, frame.camera.project(seen), strict=True)):
            half = frame.camera.fx * PLACE_SIZE / 2 / point[2] if point[2] > 0 else 0
            top, left, bottom, right = (
                round(x) if np.isfinite(x) else -1 for x in (v - half, u - half, v + half, u + half)
            )
            if half < 20 or top < 0 or left < 0 or bottom > frame.camera.height or right > frame.camera.width:
                continue
            if abs(frame.depth[int(v), int(u)] - point[2]) < 0.03 * point[2]:
                crops.append(frame.image[top:bottom, left:right])
                things.append(index)
                away = places[index] - frame.world_from_camera[:3, 3]
                directions.append(away / np.linalg.norm(away))
    return crops, things, directions


def _places(frames: list[Keyframe]) -> Floats:
    """Points [n, 3] of the first surfaces seen, apart from each other."""
    random = np.random.default_rng(0)
    found: list[Floats] = []
    for frame in frames[::10]:
        assert frame.depth is not None
        points = transform_points(frame.world_from_camera, frame.camera.unproject(frame.depth).reshape(-1, 3))
        for point in random.permutation(points[np.isfinite(points).all(1)])[:400]:
            if all(np.linalg.norm(point - other) > PLACE_APART for other in found):
                found.append(point)
    return np.array(found)


def figures(features: Floats, things: list[int], directions: list[Floats]) -> dict[str, float]:
    """The cosines of pairs of views."""
    cosine = features @ features.T
    within, near, far, between = [], [], [], []
    for i, j in combinations(range(len(things)), 2):
        if things[i] != things[j]:
            between.append(cosine[i, j])
            continue
        within.append(cosine[i, j])
        angle = np.arccos(np.clip(directions[i] @ directions[j], -1, 1))
        (near if angle < NEAR_ANGLE else far).append(cosine[i, j])
    mean = {"within": within, "near": near, "far": far, "between": between}
    found = {name: float(np.mean(values)) for name, values in mean.items() if values}
    return {**found, "lost": (1 - found["within"]) / (1 - found["between"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    classifier = Classifier(data / "models" / "mobilenet_v2_1.0_224_quant.tflite")
    sources = {
        "objects": object_crops(data / "bags" / "label_fusion_rgbd_15"),
        "places": place_crops(data / "bags" / "redkitchen_rgbd_60"),
    }
    report = {}
    for name, (crops, things, directions) in sources.items():
        full = np.array([classifier.feature(crop) for crop in crops])
        small = np.array([classifier.feature(shrunk(crop)) for crop in crops])
        size_loss = float((full * small).sum(1).mean())
        report[name] = {
            "views": len(crops),
            "things": len(set(things)),
            "as seen": figures(full, things, directions),
            f"{SMALL_PX} px": figures(small, things, directions),
            f"as seen with {SMALL_PX} px of the same view": size_loss,
        }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
