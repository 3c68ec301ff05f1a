# SPDX-License-Identifier: Apache-2.0
"""The demo: a synthetic room mapped, asked for two things that are there and one that is not, and scored."""

import json
import shutil
from pathlib import Path

import numpy as np

from ccl_lgs_ros.answer_pictures import best_view_picture, write_picture
from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.pictures import beside, captioned, rendered_color
from ccl_lgs_ros.pipeline import query_map
from ccl_lgs_ros.protocols import KeyframeSource, Progress, no_progress
from ccl_lgs_ros.scenes import make_scene
from ccl_lgs_ros.scoring import evaluate_map
from ccl_lgs_ros.showing import answer_json
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap
from ccl_lgs_ros.viewing import viewed_from

MARK = "made-by-ccl-lgs-demo"  # a folder with this file in it may be made anew
SHOWN_VIEWS = 4


def demonstrate(output: Path, seed: int, config: MapConfig, progress: Progress = no_progress) -> str:
    """Run the demo in a folder, made anew if an earlier demo made it; returns what to print at the end.

    Raises:
        MapError: if the folder holds anything else.
    """
    _clear(output)
    scene = make_scene(seed, output / "room", progress=progress)
    report, semantic_map = map_recording(output / "room", output / "map", config, progress)
    keyframes = KeyframeStore(MapDirectory.open(output / "map"))
    views = viewed_from(keyframes)
    prompts = [scene.prompts[0], scene.prompts[-1], scene.absent[0]]
    lines = [f"{'prompt':<22} {'answer':<44} {'score':>6}  picture"]
    for number, prompt in enumerate(prompts, start=1):
        found = query_map(semantic_map, prompt, config, views=views)
        path = output / f"answer_{number}_{prompt.replace(' ', '_')}.png"
        write_picture(path, best_view_picture(semantic_map, found, keyframes, config))
        path.with_suffix(".json").write_text(json.dumps(answer_json(found), indent=1))
        lines.append(f"{prompt:<22} {_where(found):<44} {found.best_score:>6.2f}  {path}")
    write_picture(output / "views.png", _views(semantic_map, keyframes, config))
    scores = evaluate_map(semantic_map, output / "room" / "eval", config, progress=progress)
    return "\n".join([str(report), "", str(scores), "", *lines, "", f"the room and its map: {output / 'views.png'}"])


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        if not (output / MARK).exists():
            raise MapError(f"{output} holds other things already; choose a new folder with -o")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).touch()


def _where(found: Answer) -> str:
    if not found.instances:
        return f"nothing found, best score {found.best_score:.2f}"
    best = found.instances[0]
    others = f" and {len(found.instances) - 1} more" if len(found.instances) > 1 else ""
    return f"at ({', '.join(f'{x:.2f}' for x in best.centroid)}) m{others}"


def _views(semantic_map: SemanticMap, keyframes: KeyframeSource, config: MapConfig) -> np.ndarray:
    """Photos above the map as seen from the same places."""
    rasterizer, _ = configured_part("rasterizer", config)
    photos, renderings = [], []
    for index in np.linspace(0, len(keyframes) - 1, SHOWN_VIEWS).round().astype(int):
        view = keyframes[int(index)]
        rendering = rasterizer.render(semantic_map.gaussians, view.camera, view.world_from_camera)
        photos.append(captioned(view.image, f"photo {index}"))
        renderings.append(captioned(rendered_color(rendering.color.numpy()), "the map from there"))
    return beside(*photos, *renderings, columns=len(photos))
