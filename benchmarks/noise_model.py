# SPDX-License-Identifier: Apache-2.0
"""What the noise model makes of rooms, beside published figures: python benchmarks/noise_model.py DATA.

DATA is a folder with `models`, the tables of CLIP's text vectors. For each strength: the cosines of true masks of
objects (as benchmarks/similarity.py takes them of a real network on real recordings), how often the nearest text is
the right one, and the average recall of the proposed masks over IoU 0.50 to 0.95 by size (COCO's sizes, at 640 x 480).
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from proof.names import read_text_vectors

from ccl_lgs_ros.synthetic.perceived_features import NEAR_NAMES, ImageTower
from ccl_lgs_ros.synthetic.perceived_masks import perceived_masks
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise
from ccl_lgs_ros.synthetic.scene import make_room_scene
from ccl_lgs_ros.synthetic.truth import FrameTruth, RoomTruth

RESULTS = Path(__file__).parent / "results" / "noise_model.json"
ROOMS, FRAMES, SIZE = (101, 102), 40, (160, 120)
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
MIN_SHARE = 0.002  # of the image, under which a mask is left out
SIZES = {"small": (0.0, 0.0033), "medium": (0.0033, 0.03), "large": (0.03, 1.0)}  # share of the image
THRESHOLDS = np.arange(0.5, 1.0, 0.05)
NEAR_ANGLE = np.deg2rad(10.0)
VOCABULARY = 150  # names among which the right one is looked for
Floats = NDArray[np.floating]


def object_features(tower: ImageTower, truths: list[FrameTruth], room: int) -> tuple[Floats, Floats, Floats]:
    """Features [n, D] of the true masks of objects, the thing of each and the direction that it was seen from."""
    features, things, directions = [], [], []
    for index, truth in enumerate(truths):
        seen = [thing for thing in range(truth.num_objects) if (truth.things == thing).mean() > MIN_SHARE]
        number = np.full(len(truth.names), -1)
        number[seen] = np.arange(len(seen))
        features.append(tower.features(truth, number[truth.things], len(seen), (room, index)).numpy())
        things += seen
        directions += [truth.viewpoint[thing, :3] for thing in seen]
    return np.concatenate(features), np.array(things), np.array(directions)


def language(names: list[str], vectors: Floats, noise: PerceptionNoise, rooms: list[list[FrameTruth]]) -> dict:
    """Cosines of features, and how often the nearest text is right."""
    cosines: dict[str, list[float]] = {}
    for number, truths in enumerate(rooms):
        tower = ImageTower(names, vectors, noise, number)
        features, things, directions = object_features(tower, truths, number)
        kinds = np.array([truths[0].names[thing] for thing in things])
        i, j = np.triu_indices(len(things), 1)
        same, alike = things[i] == things[j], kinds[i] == kinds[j]
        is_near = (directions[i] * directions[j]).sum(1) > np.cos(NEAR_ANGLE)
        cosine = (features @ features.T)[i, j]
        own = np.array([tower.row[kind] for kind in kinds])
        to_text = features @ tower.texts.T
        in_room = np.array(sorted({tower.row[name] for name in truths[0].names if name not in NEAR_NAMES}))
        others = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(names)), in_room))
        some = np.concatenate([in_room, others[: VOCABULARY - len(in_room)]])
        for name, values in {
            "within": cosine[same],
            "near": cosine[same & is_near],
            "far": cosine[same & ~is_near],
            "between": cosine[~alike],
            "same class": cosine[alike & ~same],
            "image-text": to_text[np.arange(len(own)), own],
            "image-other text": to_text[:, in_room][in_room[None] != own[:, None]],
            "right of the room's names": in_room[to_text[:, in_room].argmax(1)] == own,
            f"right of {VOCABULARY} names": some[to_text[:, some].argmax(1)] == own,
            f"right of {len(names)} names": to_text.argmax(1) == own,
        }.items():
            cosines.setdefault(name, []).extend(values.tolist())
    found = {name: round(float(np.mean(values)), 3) for name, values in cosines.items()}
    lost = {f"lost {name}": (1 - found[name]) / (1 - found["between"]) for name in ("within", "near", "far")}
    return {**found, **{name: round(value, 3) for name, value in lost.items()}, "masks": len(cosines["image-text"])}


def recall(noise: PerceptionNoise, rooms: list[list[FrameTruth]]) -> dict[str, float]:
    """Average recall of the things of the rooms by size."""
    best: dict[str, list[float]] = {name: [] for name in SIZES}
    for number, truths in enumerate(rooms):
        for index, truth in enumerate(truths):
            masks = perceived_masks(truth, noise, (number, index)).masks.numpy()
            for thing in np.unique(truth.things):
                whole = truth.things == thing
                size = next(name for name, (low, high) in SIZES.items() if low <= whole.mean() <= high)
                if whole.mean() > MIN_SHARE / 2:
                    iou = (masks & whole).sum((1, 2)) / (masks | whole).sum((1, 2))
                    best[size].append(float(iou.max(initial=0.0)))
    return {name: round(float((np.array(found)[:, None] > THRESHOLDS).mean()), 3) for name, found in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    names, vectors = read_text_vectors(parser.parse_args().data / "models")
    rooms = []
    for seed in ROOMS:
        scene = make_room_scene(seed, width=SIZE[0], height=SIZE[1])
        truth = RoomTruth(scene.room)
        rooms.append([truth.of(frame) for frame in scene.frames(FRAMES)])
    report = {}
    for strength in STRENGTHS:
        noise = PerceptionNoise().scaled(strength)
        report[str(strength)] = {**language(names, vectors, noise, rooms), "average recall": recall(noise, rooms)}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
