# SPDX-License-Identifier: Apache-2.0
"""Questions and what the map answers, with pictures."""

from typing import Any

from ccl_lgs_ros.answer_pictures import best_view_picture
from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.errors import MapError, PromptError
from ccl_lgs_ros.perception.colour_families import FAMILIES, NEUTRALS
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.report.pictures_inside import inside
from ccl_lgs_ros.report.strips import BUILTIN
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.showing import answer_text

CHOSEN = 4  # prompts where none were given,
MOST_INSTANCES = 2  # of each, so that their pictures are small
ENOUGH = 200  # Gaussians of an instance; one that has fewer is a worse example
MOST_WIDTH = 1400  # pixels of a picture


def section(subject: Subject) -> dict[str, Any]:
    """Each prompt with its answer; where none were given, those colours that the map answers best."""
    if not any(level.num_tracks for level in subject.map.levels.values()):
        return {"missing": "No Gaussian of the map carries a code yet, so it answers nothing."}
    given = subject.prompts
    index = MapIndex(subject.map)
    options = subject.config.query
    answers: list[tuple[str, Answer | str]]
    if given:
        answers = [_asked(subject, text, index, options.max_instances) for text in given]
    else:
        answers = _best_colours(subject, index)
    if not answers:
        return {"missing": 'No prompts were given, and no colour stands out; ask with --prompts "red mug" sofa.'}
    items = []
    for done, (text, answer) in enumerate(answers, start=1):
        items.append(_item(subject, text, answer))
        subject.progress("ask", done, len(answers))
    return {"cards": items, "were_given": bool(given)}


def _asked(subject: Subject, text: str, index: MapIndex, most: int) -> tuple[str, Answer | str]:
    """A prompt with its answer, or with why there is none."""
    asked = {"max_instances": most, "index": index, "views": subject.views}
    try:
        return text, query_map(subject.map, text, subject.config, subject.encoder, **asked)
    except PromptError as error:
        return text, str(error)


def _best_colours(subject: Subject, index: MapIndex) -> list[tuple[str, Answer | str]]:
    """The colours of which the map gives the best examples, each a thing that no better one has shown."""
    if not subject.map.encoder.startswith(BUILTIN):
        return []
    asked = [_asked(subject, name, index, MOST_INSTANCES) for name in FAMILIES if name not in NEUTRALS]
    found = [(name, answer) for name, answer in asked if isinstance(answer, Answer) and answer.instances]
    found.sort(key=lambda row: -_worth(row[1]))
    chosen: list[tuple[str, Answer | str]] = []
    shown: set[int] = set()
    for name, answer in found:
        ids = {item.id for item in answer.instances}
        if not ids & shown and len(chosen) < CHOSEN:
            chosen.append((name, answer))
            shown |= ids
    return chosen


def _worth(answer: Answer) -> float:
    """How good an example an answer is: certain, and no speck."""
    return answer.best_score * min(1.0, len(answer.instances[0].gaussian_ids) / ENOUGH) ** 0.5


def _item(subject: Subject, text: str, answer: Answer | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"prompt": text, "text": answer, "picture": None, "is_found": False}
    try:
        picture = inside(best_view_picture(subject.map, answer, subject.keyframes, subject.config), MOST_WIDTH)
    except MapError as error:  # no keyframes to show it in
        return {"prompt": text, "text": f"{answer_text(answer)}\n{error}", "picture": None, "is_found": False}
    return {
        "prompt": text,
        "text": answer_text(answer),
        "picture": picture,
        "is_found": bool(answer.instances),
    }
