# SPDX-License-Identifier: Apache-2.0
"""The exchangeable parts of one session, as the options name them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.gaussians.keeping import NoDensifier
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.protocols import (
    Associator,
    CodebookFitter,
    Densifier,
    Encoder,
    Lifter,
    Propagator,
    Rasterizer,
    Segmenter,
)
from ccl_lgs_ros.registry import create


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a session works with. The live path has its own fitter and lifter, which need no future, and where
    tracks come from a video model an associator."""

    rasterizer: Rasterizer
    segmenter: Segmenter
    encoder: Encoder
    live_associator: Associator
    live_fitter: CodebookFitter
    live_lifter: RegistrationLifter
    fitter: CodebookFitter
    lifter: Lifter
    levels: tuple[str, ...] = LEVELS  # that keyframes have segments of
    densifier: Densifier = field(default_factory=NoDensifier)
    propagator: Propagator | None = None  # where tracks come from a video model
    chosen: Mapping[str, str] = field(default_factory=dict)  # kind -> name, as it goes into the map's record


def create_parts(config: MapConfig) -> Parts:
    """The parts that the options name, each made once.

    Raises:
        ConfigError: if there is no such part.
        MissingDependencyError: if one that was named explicitly does not work here.
    """
    rasterizer, rasterizer_name = configured_part("rasterizer", config)
    densifier, densifier_name = configured_part("densifier", config)
    segmenter, segmenter_name = configured_part("segmenter", config)
    encoder, _ = configured_part("encoder", config)
    fitter, fitter_name = configured_part("fitter", config)
    lifter, lifter_name = configured_part("lifter", config)
    by_video = config.association.associator == "tracker"
    live_associator = "geometric" if by_video else config.association.associator
    needs_video = "tracker" in (config.association.associator, config.association.second_vote)
    propagator, propagator_name = configured_part("propagator", config) if needs_video else (None, "")
    chosen = {
        "rasterizer": rasterizer_name,
        "densifier": densifier_name,
        "segmenter": described(segmenter, segmenter_name),
        "encoder": encoder.identity,
        "associator": config.association.associator,
        "fitter": fitter_name,
        "lifter": lifter_name,
    }
    if propagator is not None:
        chosen["propagator"] = described(propagator, propagator_name)
    return Parts(
        rasterizer=rasterizer,
        densifier=densifier,
        segmenter=segmenter,
        encoder=encoder,
        live_associator=create("associator", live_associator, config.association),
        live_fitter=create("fitter", "online", config.codebook),
        live_lifter=create("lifter", "registration", config.field),
        fitter=fitter,
        lifter=lifter,
        levels=config.masks.level_names,
        propagator=propagator,
        chosen=chosen,
    )


def described(part: object, name: str) -> str:
    """A part's own description, with model and weights, where it has one; else its name."""
    return str(getattr(part, "description", name))
