# SPDX-License-Identifier: Apache-2.0
"""Pictures of answers: the keyframes that show them best, with masks, boxes and scores, beside heat with its legend."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import answer_view, answer_views
from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.asking import create_encoder, query_map
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.boxes_in_pictures import BOX_COLOUR, DrawnBox, with_boxes
from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.lettering import Colour
from ccl_lgs_ros.pictures import (
    FAINT,
    TEXT,
    Image,
    beside,
    captioned,
    heat,
    legend,
    rendered_color,
    resized,
    with_mask,
)
from ccl_lgs_ros.protocols import Encoder, KeyframeSource, Rasterizer
from ccl_lgs_ros.showing import asked_text
from ccl_lgs_ros.structures import SemanticMap

VIEWS_TRIED = 24  # keyframes, evenly spread, among which the view is looked for where the answer names none
TRIED_WIDTH = 160  # pixels; enough to see which view shows most
NEARLY = 0.8  # of the best score; what has more relevancy is what came nearest, where nothing was found
MOST_VIEWS = 4  # on one sheet
MOST_LISTED = 8  # instances, a line each
MOST_ANCHORS = 3  # of one name
SHOWN_WIDTHS = (640, 480, 400, 400)  # of each panel, by the number of views
NAME_LENGTH = 24  # letters; a longer name is written above, and only the number at the box
LEAST_SEEN = 0.001  # share of a picture; an instance that shows less of itself there is not marked
ANCHOR_COLOUR = (90, 215, 255)
NEAREST_COLOUR = (235, 235, 235)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shown:
    """What drawing needs beside the keyframes."""

    semantic_map: SemanticMap
    found: Answer
    anchors: Sequence[tuple[str, Instance]]  # what the answer was found by, with its name
    encoder: Encoder
    rasterizer: Rasterizer


def best_view_picture(semantic_map: SemanticMap, found: Answer, keyframes: KeyframeSource, config: MapConfig) -> Image:
    """The keyframes that show the answer best, no more than needed: photo with mask, boxes and scores beside the heat.

    Raises:
        MapError: if the map has no keyframes to show.
    """
    if not len(keyframes):
        raise MapError("the map holds no keyframes, so there is no view to show; map the recording again")
    rasterizer, _ = configured_part("rasterizer", config)
    encoder = create_encoder(semantic_map, config)
    anchors = _anchors(semantic_map, found, config, encoder)
    shown = _Shown(semantic_map=semantic_map, found=found, anchors=anchors, encoder=encoder, rasterizer=rasterizer)
    places = _views_of(found.instances, keyframes) or [_most_relevant_view(shown, keyframes)]
    width = SHOWN_WIDTHS[len(places) - 1]
    rows = [_row(shown, keyframes[place], width) for place in places]
    return _titled(found, beside(*rows, columns=1, gap=TEXT), len(places))


def write_picture(path: Path, image: Image) -> None:
    """Write an image where its folder may not exist yet.

    Raises:
        MapError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise MapError(f"cannot write a picture as '{path}'; end its name in .png or .jpg")
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise MapError(f"cannot write {path}; check the folder's permissions and the disk")


def _titled(found: Answer, sheet: Image, num_views: int) -> Image:
    """The sheet under what was asked, how it was understood and what came of it, and over a line per instance."""
    doubt = found.reading.sentence if found.reading is not None and found.reading.is_doubtful else ""
    heading = "\n".join(line for line in (found.message, doubt) if line)
    sheet = captioned(captioned(sheet, heading, TEXT, FAINT), f'"{asked_text(found)}"', TEXT + 8)
    lines = [_line(item) for item in found.instances[:MOST_LISTED]]
    left_out = len(found.instances) - MOST_LISTED
    lines += [f"and {left_out} more"] if left_out > 0 else []
    return captioned(sheet, "\n".join(lines), TEXT - 1, FAINT, is_above=False) if lines else sheet


def _line(item: Instance) -> str:
    centre = ", ".join(f"{x:.2f}" for x in item.centroid)
    size = " x ".join(f"{x:.2f}" for x in item.box.size)
    return f"#{item.id} · score {item.score:.2f} · at ({centre}) m · {size} m · level {item.level}"


def _row(shown: _Shown, keyframe: Keyframe, width: int) -> Image:
    """One keyframe: the photo, marked, beside the heat and its legend."""
    found, pose = shown.found, keyframe.world_from_camera
    photo = resized(keyframe.image, width)
    camera = keyframe.camera.resized(width, photo.shape[0])
    alone = [replace(found, instances=(item,)) for item in [*found.instances, *(item for _, item in shown.anchors)]]
    views = answer_views(shown.semantic_map, [found, *alone], shown.encoder, shown.rasterizer, camera, pose)
    (mask, relevancy), *of_each = [(mask.numpy(force=True), warmth.numpy(force=True)) for mask, warmth in views]
    rendering = shown.rasterizer.render(shown.semantic_map.gaussians, camera, pose)
    warm = heat(relevancy, rendered_color(rendering.color.numpy(force=True)))
    what = f"photo, keyframe {keyframe.id}"
    if found.instances:
        drawn = [(item, _label(found, item), BOX_COLOUR) for item in found.instances]
        drawn += [(item, name, ANCHOR_COLOUR) for name, item in shown.anchors]
        boxes = [_drawn_box(*which, mask) for which, (mask, _) in zip(drawn, of_each, strict=True)]
        marked = with_boxes(with_mask(photo, mask), [box for box in boxes if box is not None], camera, pose)
    else:
        marked = _with_nearest(photo, relevancy, found)
        what += "; outlined is what came nearest" if marked is not photo else ""
    return beside(
        captioned(marked, what, TEXT - 1, FAINT),
        captioned(warm, "the map from there, coloured by relevancy", TEXT - 1, FAINT),
        captioned(legend(photo.shape[0], found.threshold), "relevancy", TEXT - 1, FAINT),
        gap=4,
    )


def _drawn_box(item: Instance, label: str, colour: Colour, mask: NDArray[np.bool_]) -> DrawnBox | None:
    """The box of an instance with a label above what can be seen of it; None where that is next to nothing."""
    if mask.sum() < LEAST_SEEN * mask.size:
        return None
    rows, columns = np.nonzero(mask)
    return DrawnBox(item.box, label, colour, at=(float(columns.mean()), float(rows.min())))


def _anchors(
    semantic_map: SemanticMap, found: Answer, config: MapConfig, encoder: Encoder
) -> list[tuple[str, Instance]]:
    """What a request relates its things to, or takes them for parts of: the things of these names, a few of each."""
    if found.reading is None or found.reading.is_plain or not found.instances:
        return []
    phrase, plain = found.reading.phrase, updated(config, {"query.grammar": False})
    named = [anchor.words for anchor in (*phrase.anchors, *([phrase.whole] if phrase.whole else []))]
    answers = {
        words: query_map(semantic_map, words, plain, encoder, max_instances=MOST_ANCHORS)
        for words in dict.fromkeys(named)
    }
    return [(words, item) for words, answer in answers.items() for item in answer.instances]


def _with_nearest(photo: Image, relevancy: NDArray[np.floating], found: Answer) -> Image:
    """The photo with what came nearest outlined, where anything did."""
    if found.best_score <= 0.0:
        return photo
    return with_mask(photo, relevancy >= NEARLY * found.best_score, NEAREST_COLOUR, is_tinted=False)


def _label(found: Answer, item: Instance) -> str:
    """What is written at a box: the name, and where there are several the number that the list below has."""
    name = found.reading.phrase.words if found.reading is not None else found.prompt.text
    is_named = len(found.instances) == 1 and len(name) <= NAME_LENGTH
    return f"{name if is_named else f'#{item.id}'} {item.score:.2f}"


def _views_of(instances: Sequence[Instance], keyframes: KeyframeSource) -> list[int]:
    """Places of keyframes that show every instance, the first one best; few, as one that shows several is preferred."""
    good = [[i for i in item.keyframe_ids if i < len(keyframes) and keyframes[i].id == i] for item in instances]
    chosen: list[int] = []
    for candidates in good:
        if candidates and not set(candidates) & set(chosen) and len(chosen) < MOST_VIEWS:
            chosen.append(max(candidates, key=lambda place: sum(place in others for others in good)))
    return chosen


def _most_relevant_view(shown: _Shown, keyframes: KeyframeSource) -> int:
    """The place of the keyframe in which most pixels belong to the answer, or else to what came nearest to it."""
    tried = np.unique(np.linspace(0, len(keyframes) - 1, VIEWS_TRIED).round().astype(int))
    middle = tried[len(tried) // 2]

    def merit(place: int) -> tuple[int, int, int]:
        view = keyframes[place]
        height = round(view.camera.height * TRIED_WIDTH / view.camera.width)
        camera, pose = view.camera.resized(TRIED_WIDTH, height), view.world_from_camera
        mask, relevancy = answer_view(shown.semantic_map, shown.found, shown.encoder, shown.rasterizer, camera, pose)
        near = (relevancy > 0.0) & (relevancy >= NEARLY * shown.found.best_score)
        return int(mask[2:-2, 2:-2].sum()), int(near[2:-2, 2:-2].sum()), -abs(place - middle)

    return max((int(place) for place in tried), key=merit)
