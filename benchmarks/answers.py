# SPDX-License-Identifier: Apache-2.0
"""Measures answers in synthetic rooms whose twins touch: AP50 of instances, relations, parts, approach poses.

    python benchmarks/answers.py                       by colour names, on the builtin perception
    python benchmarks/answers.py ../shared/data        and by names of kinds and parts, on the noise model

Each room is mapped by the pipeline as it is, asked questions whose truth comes from exact geometry, and left. By colour
it is mapped twice, plain and with parts in a colour of their own, which are asked for.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import RESULTS, machine
from proof.names import read_text_vectors
from proof.summary import bootstrapped

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.evaluation.instances import ap50, objects_found, owners, union_iou
from ccl_lgs_ros.navigating import find_approaches, robot_of, surroundings
from ccl_lgs_ros.parts import create_parts
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.synthetic.free_floor import clearance, distance_to
from ccl_lgs_ros.synthetic.perception_noise import PerceptionNoise
from ccl_lgs_ros.synthetic.questions import Question, questions
from ccl_lgs_ros.synthetic.room import Room
from ccl_lgs_ros.synthetic.scene import RoomFrame, Scene, make_room_scene
from ccl_lgs_ros.synthetic.surfaces import TrueSurface
from ccl_lgs_ros.synthetic_perception import SyntheticPerception

ROOMS = (5, 7, 11, 12, 13, 14)
FRAMES, PER_SORT = 40, 6
THRESHOLD = 0.58  # for the noise model: what benchmarks/method.py finds best in other rooms
PART_IOU = 0.5  # that an answer about a part must exceed
SHOWN_SHARE = 1 / 2000  # of an image, that a part covers in one image at least to be asked for
ON_TARGET, FACING = 0.1, np.radians(15.0)  # metres by which the distance, radians by which the heading may be off
BARS = {"ap50": 0.8, "relations": 0.8, "parts": 0.7, "approaches": 1.0}
SMALL = {  # what is given in pixels, for images of 160 x 120
    "gaussians.image_width": 160,
    "gaussians.seed_stride": 2,
    "masks.min_area_px": 20,
    "association.min_votes": 2.5,
}

Ask = Callable[..., Answer]  # of a text, and of world_from_viewer [4, 4] where somebody looks


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder with models/, the text vectors")
    parser.add_argument("--rooms", type=int, nargs="+", default=ROOMS)
    parser.add_argument("--small", action="store_true", help="images of 160 x 120 instead of 320 x 240")
    parser.add_argument("--output", type=Path, default=RESULTS / "answers.json")
    arguments = parser.parse_args()
    tables = read_text_vectors(arguments.data / "models") if arguments.data else None
    results: list[dict] = []
    for seed in arguments.rooms:
        results += of_room(seed, arguments.small, tables)
        content = {"machine": machine(), "small": arguments.small, "summary": summary(results), "rooms": results}
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")
        print(f"room {seed}: {json.dumps(content['summary'], indent=1)}", flush=True)


def of_room(seed: int, is_small: bool, tables: tuple[list[str], np.ndarray] | None) -> list[dict]:
    """What is right and wrong in a room, in each language."""
    size = (160, 120) if is_small else (320, 240)
    scene = make_room_scene(seed, width=size[0], height=size[1], twins_touch=True)
    frames = list(scene.frames(FRAMES))
    config = updated(MapConfig(), SMALL if is_small else {})
    found = [{"room": seed, "names": "colours", **figures(scene, frames, config, None)}]
    two_tone = make_room_scene(seed, width=size[0], height=size[1], twins_touch=True, two_tone=True)
    found[0]["parts"] = parts_by_colour(two_tone, list(two_tone.frames(FRAMES)), config)
    if tables is not None:
        perception = SyntheticPerception(
            room=scene.room,
            frames=frames,
            names=tables[0],
            vectors=tables[1],
            noise=PerceptionNoise(),
            seed=seed,
            threshold=THRESHOLD,
            knows_parts=True,
        )
        found.append({"room": seed, "names": "kinds", **figures(scene, frames, config, perception)})
    return found


def figures(
    scene: Scene, frames: Sequence[RoomFrame], config: MapConfig, perception: SyntheticPerception | None
) -> dict:
    """The scores of one map, and what was wrong."""
    semantic_map = mapped(frames, config, perception)
    encoder = perception or create_encoder(semantic_map, config)
    surface = TrueSurface(scene.room)
    for frame in frames[::2]:
        surface.add(frame)
    means = semantic_map.gaussians.means.numpy(force=True)
    owner = owners(means, surface.points, surface.objects)

    def ask(text: str, world_from_viewer: np.ndarray | None = None) -> Answer:
        return query_map(semantic_map, text, config, encoder, seen_from=world_from_viewer)

    by_colour = perception is None
    asked = questions(scene, 0, by_colour=by_colour, per_sort=PER_SORT)
    return {
        "ap50": precisions(scene.room, by_colour, ask, owner),
        "relations": relations(asked, ask, owner),
        "parts": [] if by_colour else part_ious(scene.room, frames, asked, ask, means, surface),
        "approaches": approach_poses(scene.room, semantic_map, config, ask) if by_colour else [],
    }


def parts_by_colour(scene: Scene, frames: Sequence[RoomFrame], config: MapConfig) -> list[dict]:
    """How well parts are found in a map of a room where they have a colour of their own."""
    semantic_map = mapped(frames, config, None)
    encoder, surface = create_encoder(semantic_map, config), TrueSurface(scene.room)
    for frame in frames[::2]:
        surface.add(frame)

    def ask(text: str, world_from_viewer: np.ndarray | None = None) -> Answer:
        return query_map(semantic_map, text, config, encoder, seen_from=world_from_viewer)

    asked = questions(scene, 0, by_colour=True, per_sort=PER_SORT)
    return part_ious(scene.room, frames, asked, ask, semantic_map.gaussians.means.numpy(force=True), surface)


def mapped(frames: Sequence[RoomFrame], config: MapConfig, perception: SyntheticPerception | None) -> SemanticMap:
    """The map of the frames, as the pipeline makes it."""
    parts = create_parts(config)
    if perception is not None:
        parts = replace(parts, segmenter=perception, encoder=perception)
    with tempfile.TemporaryDirectory() as folder:
        directory = MapDirectory.create(Path(folder) / "map")
        session = MapSession(config, directory, parts=parts)
        return session.build([frame.keyframe(index) for index, frame in enumerate(frames)])


def precisions(room: Room, by_colour: bool, ask: Ask, owner: np.ndarray) -> dict[str, float]:
    """AP50 of each name."""
    found = {}
    for name in dict.fromkeys(item.category if by_colour else item.kind for item in room.objects):
        ids = [item.id for item in room.objects if name in (item.category, item.kind)]
        found[name] = ap50(ask(name).instances, ids, owner)
    return found


def relations(asked: Sequence[Question], ask: Ask, owner: np.ndarray) -> list[dict]:
    """What the questions about relations and choices mean, and what was found."""
    found = []
    for question in asked:
        if not question.part:
            answer = ask(question.text, question.world_from_viewer)
            objects = sorted(objects_found(answer.instances, owner))
            found.append(
                {
                    "text": question.text,
                    "sort": question.sort,
                    "meant": sorted(question.objects),
                    "found": objects,
                    "message": answer.message,
                }
            )
    return found


def part_ious(
    room: Room,
    frames: Sequence[RoomFrame],
    asked: Sequence[Question],
    ask: Ask,
    means: np.ndarray,
    surface: TrueSurface,
) -> list[dict]:
    """How well each answer about a part that the images show covers it."""
    found, shown = [], shown_parts(room, frames)
    for question in asked:
        if not question.part or not any((id, question.part) in shown for id in question.objects):
            continue
        points, label = [surface.points[surface.objects == 0]], [np.zeros(int((surface.objects == 0).sum()), int)]
        for item in room.objects:
            for name in item.part_names:
                here = item.part_surface(name)
                points.append(here)
                label.append(np.full(len(here), int(item.id in question.objects and name == question.part)))
        is_part = owners(means, np.concatenate(points), np.concatenate(label)) == 1
        answer = ask(question.text)
        iou = union_iou(answer.instances, is_part)
        found.append({"text": question.text, "iou": iou, "true": int(is_part.sum()), "message": answer.message})
    return found


def shown_parts(room: Room, frames: Sequence[RoomFrame]) -> set[tuple[int, str]]:
    """The ids of objects with the names of their parts that an image shows well enough to be asked for."""
    largest = np.zeros(len(room.shapes))
    for frame in frames:
        counts = np.bincount(frame.shapes[frame.shapes >= 0], minlength=len(room.shapes))
        largest = np.maximum(largest, counts / frame.shapes.size)
    parts = {item.id: item.parts for item in room.objects}
    return {
        (paint.object_id, parts[paint.object_id][paint.part_id - 1].name)
        for paint, share in zip(room.paints, largest, strict=True)
        if paint.object_id and share >= SHOWN_SHARE
    }


def approach_poses(room: Room, semantic_map: SemanticMap, config: MapConfig, ask: Ask) -> list[dict]:
    """Every pose that is proposed for every instance: how far it truly is from obstacles and from the thing."""
    around, radius, options = surroundings(semantic_map, config), robot_of(config).inner_radius, config.navigation
    found = []
    for category in room.categories:
        items = [item for item in room.objects if item.category == category]
        for instance in ask(category).instances:
            item = min(items, key=lambda item, at=instance.centroid: float(np.linalg.norm(item.centroid - at)))
            for pose in find_approaches(instance, around, config).poses:
                place, ahead = pose.world_from_base[:2, 3], pose.world_from_base[:2, 0]
                away = item.box[0][:2] - place
                turn = float(np.arccos(np.clip(ahead @ away / np.linalg.norm(away), -1, 1)))
                free, distance = clearance(room, place), distance_to(item.outline, place)
                is_near = abs(distance - options.standoff) <= options.tolerance + ON_TARGET
                found.append(
                    {
                        "thing": category,
                        "clearance": round(free, 3),
                        "distance": round(distance, 3),
                        "turn": round(turn, 3),
                        "is_valid": bool(free >= radius and turn <= FACING and is_near),
                    }
                )
    return found


def summary(results: Sequence[dict]) -> dict[str, dict]:
    """The figures: means over rooms with 95 % intervals, rooms drawn anew, beside their bars."""
    units: dict[str, list[tuple[float, int]]] = {}
    for room in results:
        of_room = {
            "ap50": list(room["ap50"].values()),
            "relations": [question["meant"] == question["found"] for question in room["relations"]],
            "parts": [part["iou"] > PART_IOU for part in room["parts"]],
            "approaches": [pose["is_valid"] for pose in room["approaches"]],
        }
        for name, values in of_room.items():
            units.setdefault(f"{room['names']}: {name}", []).extend((float(value), room["room"]) for value in values)
    return {name: _figure(name, np.array(values)) for name, values in units.items() if values}


def _figure(name: str, values: np.ndarray) -> dict:
    mean, low, high = (round(value, 3) for value in bootstrapped(values[:, 0], values[:, 1].astype(int)))
    bar = BARS[name.partition(": ")[2]]
    return {"mean": mean, "low": low, "high": high, "count": len(values), "bar": bar, "passes": mean >= bar}


if __name__ == "__main__":
    main()
