# SPDX-License-Identifier: Apache-2.0
"""What a map's record says of how it was made, so that whoever reads it needs no options file."""

from collections.abc import Mapping

from ccl_lgs_ros.asking import encoder_record
from ccl_lgs_ros.config import MapConfig, options


def made_with(config: MapConfig, backends: Mapping[str, str]) -> dict[str, object]:
    """The parts that `auto` became, what the encoder needs to be asked, and every option that is not the default."""
    return {
        "backends": dict(backends),
        "encoder_options": encoder_record(config),
        "options": changed_options(config),
    }


def changed_options(config: MapConfig) -> dict[str, object]:
    """The options by dotted name that are not the default."""
    default = {name: value for name, _, value in options(MapConfig())}
    return {name: value for name, _, value in options(config) if value != default[name]}
