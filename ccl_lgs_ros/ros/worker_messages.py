# SPDX-License-Identifier: Apache-2.0
"""What the training node and its worker process say to each other. No torch: the node imports this."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The first thing that a worker is told, and again when some of it changes: not options, path and niceness."""

    options: dict[str, Any]  # of MapConfig, by dotted name
    map_path: str
    train: bool  # take in keyframes as they come; else only on demand
    snapshot_period: float  # seconds
    refine_idle: float  # seconds; 0 = never
    refine_every: int  # keyframes; 0 = never
    min_keyframes: int
    niceness: int
    log_level: int
    is_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Bring the map up to date; see action/BuildMap.action."""

    job: int
    from_scratch: bool = False
    refine: bool = True
    iterations: int = -1
    min_keyframes: int = 0
    max_duration: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Publish the map and copy it; see srv/SaveMap.srv."""

    job: int
    path: str = ""
    include_keyframes: bool = True
    export_ply: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Forget Gaussians and language; the keyframes stay."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop a job at its next safe point."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Publish what there is and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A line for the node's logger."""

    level: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the worker is doing."""

    state: str  # starting, waiting, collecting, training, paused, ready, error
    stage: str = ""
    message: str = ""
    job: int = 0  # that the figures belong to; 0 = none
    done: int = 0
    total: int = 0
    loss: float = float("nan")
    psnr: float = float("nan")
    map_id: str = ""
    map_version: int = 0
    num_keyframes: int = 0  # in the map
    num_published: int = 0  # in its newest version
    num_stored: int = 0  # in the store
    num_gaussians: int = 0
    codebook_size: int = 0
    memory: int = 0  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of a job, good or bad; error_code names a constant of the action's result."""

    job: int
    error_code: str = "OK"
    message: str = ""
    partial: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
