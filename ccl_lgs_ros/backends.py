# SPDX-License-Identifier: Apache-2.0
"""Which part `auto` means here, and where tensors live: resolved once, logged, recorded in the map.

A part that was named explicitly never falls back to another.
"""

import logging
from typing import Any

import torch

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError
from ccl_lgs_ros.registry import asked_for, create, names, part_class

# kind -> the config group and its option that name the part
CHOSEN_BY = {
    "rasterizer": ("rendering", "rasterizer"),
    "densifier": ("gaussians", "densifier"),
    "segmenter": ("perception", "segmenter"),
    "encoder": ("perception", "encoder"),
    "associator": ("association", "associator"),
    "propagator": ("association", "propagator"),
    "fitter": ("codebook", "fitter"),
    "lifter": ("field", "lifter"),
}

logger = logging.getLogger(__name__)


def unavailable(kind: str, name: str, group: Any, **context: Any) -> str:
    """Why a part does not work here with these options, in one sentence; empty where it does."""
    check = getattr(part_class(kind, name), "is_available", None)
    return check(**asked_for(check, group, context)) if check else ""


def create_part(kind: str, name: str, group: Any, **context: Any) -> tuple[Any, str]:
    """A part and its name; `auto` takes the first of its kind that works here.

    Args:
        group: the options of the part's kind.
        context: device, download and seed, for the parts that ask for them.

    Raises:
        ConfigError: if there is no such part.
        MissingDependencyError: if it was named explicitly and does not work here, or none does.
    """
    if name != "auto":
        reason = unavailable(kind, name, group, **context)
        if reason:
            raise MissingDependencyError(reason)
        return create(kind, name, group, **context), name
    reasons = []
    for candidate in names(kind):
        reason = unavailable(kind, candidate, group, **context)
        if not reason:
            if reasons:
                logger.warning("%s: using %s, because %s", kind, candidate, "; ".join(reasons))
            return create(kind, candidate, group, **context), candidate
        reasons.append(f"{candidate}: {reason}")
    raise MissingDependencyError(f"no {kind} works here: {'; '.join(reasons)}")


def configured_part(kind: str, config: MapConfig) -> tuple[Any, str]:
    """The part of a kind that the options name, and its name; raises as `create_part`."""
    group, name = _group_and_name(kind, config)
    return create_part(kind, name, group, **_context(config))


def reasons_against(kind: str, config: MapConfig) -> dict[str, str]:
    """For each part of a kind why it does not work here with these options; empty where it does."""
    group, _ = _group_and_name(kind, config)
    return {name: unavailable(kind, name, group, **_context(config)) for name in names(kind)}


def _group_and_name(kind: str, config: MapConfig) -> tuple[Any, str]:
    group_name, option = CHOSEN_BY[kind]
    group = getattr(config, group_name)
    return group, getattr(group, option)


def _context(config: MapConfig) -> dict[str, Any]:
    return {"device": resolve_device(config.device), "download": config.download, "seed": config.seed}


def resolve_device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Raises:
        MissingDependencyError: if CUDA was asked for and is not there.
        ConfigError: if the name is no device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"option 'device' must be auto, cpu, cuda or cuda:N; got '{name}'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingDependencyError("device 'cuda' was asked for, but torch sees no GPU; use --set device=cpu")
    return device
