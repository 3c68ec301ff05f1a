# SPDX-License-Identifier: Apache-2.0
"""Pictures of scores: what the map answered beside the truth, in every labelled view, worst first."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answer_pictures import write_picture
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.evaluation.scores import Scores, Unit
from ccl_lgs_ros.map_subject import MapSubject
from ccl_lgs_ros.pictures import FAINT, MASK_COLOUR, TEXT, Image, beside, captioned, resized, with_mask
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.storage.evaluation_set import LabelledView

MOST_PICTURES = 48
WIDTH = 640  # pixels of a picture
SMALL, COLUMNS = 240, 6  # pixels of a picture in the index, and how many stand in a row
TRUTH_COLOUR = (60, 230, 90)
KEY = "green: the truth, magenta: the map's answer"
INDEX = "index.jpg"


def write_scoring_pictures(
    folder: Path,
    scores: Scores,
    subject: MapSubject,
    views: Sequence[LabelledView],
    progress: Progress = no_progress,
) -> int:
    """A picture per prompt and labelled view, the MOST_PICTURES worst at most, and an index of them; returns how many.

    Raises:
        MapError: if the folder holds other things, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise MapError(f"{folder} holds other things already; name a new folder for the pictures")
    worst = sorted(scores.units, key=lambda unit: unit.iou)[:MOST_PICTURES]
    place_of = {(unit.prompt, unit.view): place for place, unit in enumerate(worst)}
    small: dict[int, Image] = {}
    for done, (unit, picture) in enumerate(_pictures(worst, subject, views), start=1):
        place = place_of[unit.prompt, unit.view]
        stem = views[unit.view].stem
        name = f"{place + 1:03d}_iou_{unit.iou:.2f}_{_file_name(unit.prompt)}_{_file_name(stem)}.jpg"
        text = f'IoU {unit.iou:.2f}   "{unit.prompt}"\nview {stem}; {KEY}'
        write_picture(folder / name, captioned(picture, text))
        small[place] = captioned(resized(picture, SMALL), f'{place + 1}: IoU {unit.iou:.2f} "{unit.prompt}"', TEXT - 2)
        progress("pictures", done, len(worst))
    sheet = beside(*(small[place] for place in sorted(small)), columns=min(COLUMNS, max(len(small), 1)), gap=6)
    write_picture(folder / INDEX, _titled(sheet, scores, len(worst)))
    return len(worst)


def _pictures(
    units: Sequence[Unit], subject: MapSubject, views: Sequence[LabelledView]
) -> Iterator[tuple[Unit, Image]]:
    """Each unit as a picture; what one view shows is drawn together."""
    answers = {prompt: subject.ask(prompt) for prompt in dict.fromkeys(unit.prompt for unit in units)}
    for index, group in groupby(sorted(units, key=lambda unit: unit.view), key=lambda unit: unit.view):
        of_view, view = list(group), views[index]
        asked = [answers[unit.prompt] for unit in of_view]
        ground = _ground(subject, view)
        for unit, (mask, _) in zip(of_view, subject.show(asked, view.camera, view.world_from_camera), strict=True):
            yield unit, _marked(ground, view.masks[unit.prompt], mask)


def _marked(ground: Image, truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Image:
    """The answer tinted, the truth outlined over it."""
    large = resized(ground, WIDTH)
    truth, mask = (_at_size(which, large) for which in (truth, mask))
    return with_mask(with_mask(large, mask, MASK_COLOUR), truth, TRUTH_COLOUR, is_tinted=False)


def _at_size(mask: NDArray[np.bool_], image: Image) -> NDArray[np.bool_]:
    size = image.shape[1], image.shape[0]
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _ground(subject: MapSubject, view: LabelledView) -> Image:
    """The photo of a view; the map as seen from there where the set has none."""
    photo = cv2.imread(str(view.image_path), cv2.IMREAD_COLOR) if view.image_path is not None else None
    if photo is None:
        return subject.picture(view.camera, view.world_from_camera)
    photo = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)
    return cv2.resize(photo, (view.camera.width, view.camera.height), interpolation=cv2.INTER_AREA)


def _titled(sheet: Image, scores: Scores, count: int) -> Image:
    of_all = len(scores.units)
    which = f"all {of_all}" if count == of_all else f"the worst {count} of {of_all}"
    figures = scores.to_json()
    heading = f"{which} labelled prompts in views, worst first; mIoU {figures['miou']:.3f}"
    return captioned(captioned(sheet, KEY, TEXT, FAINT), heading, TEXT + 5)


def _file_name(text: str) -> str:
    """A text as part of a file's name, in the letters that every file system takes."""
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in text)[:40]
