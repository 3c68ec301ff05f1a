# SPDX-License-Identifier: Apache-2.0
"""Which part `auto` means here, and where tensors live: resolved once, logged, recorded in the map.

A part that was named explicitly never falls back to another.
"""

import logging
from typing import Any

import torch

from ccl_lgs_ros.errors import ConfigError, MissingDependencyError
from ccl_lgs_ros.registry import create, names, part_class

logger = logging.getLogger(__name__)


def unavailable(kind: str, name: str) -> str:
    """Why a part does not work here, in one sentence; empty where it does."""
    check = getattr(part_class(kind, name), "is_available", None)
    return check() if check else ""


def create_part(kind: str, name: str, group: Any) -> tuple[Any, str]:
    """A part and its name; `auto` takes the first of its kind that works here.

    Raises:
        ConfigError: if there is no such part.
        MissingDependencyError: if it was named explicitly and does not work here, or none does.
    """
    if name != "auto":
        reason = unavailable(kind, name)
        if reason:
            raise MissingDependencyError(reason)
        return create(kind, name, group), name
    reasons = []
    for candidate in names(kind):
        reason = unavailable(kind, candidate)
        if not reason:
            if reasons:
                logger.warning("%s: using %s, because %s", kind, candidate, "; ".join(reasons))
            return create(kind, candidate, group), candidate
        reasons.append(f"{candidate}: {reason}")
    raise MissingDependencyError(f"no {kind} works here: {'; '.join(reasons)}")


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
