# SPDX-License-Identifier: Apache-2.0
"""What a map's record says of how it was made, so that whoever reads it needs no options file."""

from collections.abc import Mapping
from typing import Any

from ccl_lgs_ros.asking import encoder_record
from ccl_lgs_ros.config import MapConfig, options, updated
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.structures import SemanticLevel


def made_with(config: MapConfig, backends: Mapping[str, str]) -> dict[str, object]:
    """The recipe, what `auto` became, what the encoder needs to be asked, and every option that is not the default."""
    return {
        "recipe": config.recipe,
        "backends": dict(backends),
        "encoder_options": encoder_record(config),
        "options": changed_options(config),
    }


def grown_to(counts: tuple[int, ...], levels: Mapping[str, SemanticLevel]) -> dict[str, object]:
    """How many keyframes joined and were refined, which revision of their poses that was, and the tracks by level."""
    tracks = {name: level.num_tracks for name, level in levels.items()}
    return {**dict(zip(("keyframes", "refined", "revision"), counts, strict=True)), "tracks": tracks}


def changed_options(config: MapConfig) -> dict[str, object]:
    """The options by dotted name that are not the default."""
    default = {name: value for name, _, value in options(MapConfig())}
    return {name: value for name, _, value in options(config) if value != default[name]}


def option_of_map(info: Mapping[str, object], name: str) -> Any:
    """The value that an option had when a map was made, as its record says; the default where that says nothing."""
    recorded = info.get("options")
    value = recorded.get(name) if isinstance(recorded, dict) else None
    default = MapConfig()
    try:
        config = updated(default, {name: value}) if value is not None else default
    except ConfigError:  # of another version of this program
        config = default
    return next(value for known, _, value in options(config) if known == name)
