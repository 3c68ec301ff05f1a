# SPDX-License-Identifier: Apache-2.0
"""A text prompt put to a map, in the language that the map speaks."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import EncoderMismatchError, PromptError
from ccl_lgs_ros.level_names import level_of_map
from ccl_lgs_ros.protocols import Encoder
from ccl_lgs_ros.query.answer import MapIndex
from ccl_lgs_ros.query.finding import MapFinder
from ccl_lgs_ros.query.reading import MAX_WORDS as MAX_PROMPT_WORDS
from ccl_lgs_ros.query.reading import as_one_name, read
from ccl_lgs_ros.query.resolving import resolved
from ccl_lgs_ros.query.surface import answer_seen
from ccl_lgs_ros.query.viewed_from import ViewedFrom
from ccl_lgs_ros.registry import names
from ccl_lgs_ros.structures import SemanticMap

ENCODER_OPTIONS = (
    "encoder_model",
    "encoder_checkpoint",
    "classifier_labels",
    "classifier_top",
    "text_tables",
    "negatives",
    "templates",
    "relevancy",
    "sharpness",
)


def create_encoder(semantic_map: SemanticMap, config: MapConfig) -> Encoder:
    """The encoder whose language the map speaks; `auto` takes the kind that the map names.

    Raises:
        EncoderMismatchError: if the configured encoder lives in another space.
    """
    kind = semantic_map.encoder.partition("/")[0]
    if config.perception.encoder == "auto" and kind in names("encoder"):
        config = updated(config, {"perception.encoder": kind, **_recorded(semantic_map, config)})
    encoder, _ = configured_part("encoder", config)
    if encoder.identity != semantic_map.encoder:
        raise EncoderMismatchError(
            f"the map was built with the encoder '{semantic_map.encoder}' and cannot be asked with "
            f"'{encoder.identity}'; set perception.encoder to the former, or build the map again"
        )
    return encoder


def encoder_record(config: MapConfig) -> dict[str, object]:
    """The options that make an encoder what it is, where they are not the default; paths are made absolute.

    A map records them, so that it can be asked without naming them again.
    """
    changed = {}
    for name in ENCODER_OPTIONS:
        value = getattr(config.perception, name)
        if value != getattr(MapConfig().perception, name):
            changed[name] = _with_whole_paths(value)
    return changed


def _with_whole_paths(value: object) -> object:
    """An option's value, with the files that it names (`a`, or `a=b,c=d`) by their whole paths."""
    if not isinstance(value, str):
        return value
    return re.sub(r"[^=,]+", lambda part: str(Path(part[0]).resolve()) if Path(part[0]).is_file() else part[0], value)


def _recorded(semantic_map: SemanticMap, config: MapConfig) -> dict[str, object]:
    """What the map records of its encoder, where the options say nothing else."""
    recorded, default = semantic_map.info.get("encoder_options"), MapConfig().perception
    if not isinstance(recorded, dict):
        return {}
    untouched = [name for name in ENCODER_OPTIONS if getattr(config.perception, name) == getattr(default, name)]
    return {f"perception.{name}": recorded[name] for name in untouched if name in recorded}


def query_map(
    semantic_map: SemanticMap,
    text: str,
    config: MapConfig,
    encoder: Encoder | None = None,
    *,
    threshold: float | None = None,
    level: str | None = None,
    max_instances: int | None = None,
    index: MapIndex | None = None,
    views: ViewedFrom | None = None,
    near: NDArray[np.floating] | None = None,
    seen_from: NDArray[np.float64] | None = None,
) -> Answer:
    """The instances of what a text asks for; none when nothing looks enough like it.

    The text is read by the grammar of query/reading.py, unless query.grammar is off: "the largest mug on the table" is
    found as mugs and tables that are so related, of which the largest is chosen. Answer.reading tells how it was read,
    Answer.message what came of it, and Answer.prompt is what the encoder made of the thing asked for, the mug.

    Args:
        index: of this map, for one that is asked often; made anew if not given.
        views: the cameras that saw the map; with them instances tell their surface points and best views.
        near: [3] metres, world, to which these points are the nearest; None = the camera of the best view.
        seen_from: [4, 4] world_from_viewer of whoever asks, axes of a camera, for "left" and "behind"; None = the best
            view of what is asked for, where there are `views`, else the middle of the map.

    Raises:
        ConfigError: if the map has not the level that is asked for.
        PromptError: if the text is empty or has more than MAX_PROMPT_WORDS words.
        EncoderMismatchError: if the configured encoder speaks another language than the map.
    """
    words = text.split()
    if not words:
        raise PromptError('the prompt is empty; name one thing, for instance "red mug"')
    if len(words) > MAX_PROMPT_WORDS:
        raise PromptError(f"the prompt has {len(words)} words; name one thing in at most {MAX_PROMPT_WORDS}")
    encoder = encoder or create_encoder(semantic_map, config)
    options = config.query
    reading = read(text) if options.grammar else as_one_name(text)
    finder = MapFinder(
        semantic_map=semantic_map,
        encoder=encoder,
        index=index or MapIndex(semantic_map),
        threshold=(options.threshold or encoder.threshold) if threshold is None else threshold,
        min_gaussians=options.min_gaussians,
        connect_distance=options.connect_distance,
        level=level_of_map(semantic_map.levels, level or options.level),
    )
    most = max_instances or options.max_instances
    if reading.is_plain:
        found = replace(finder.find(reading.phrase.words, most), reading=reading)
    else:
        found = resolved(semantic_map, reading, finder, most, views, seen_from)
    return found if views is None else answer_seen(found, semantic_map.gaussians, views, near)
