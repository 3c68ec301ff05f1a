# SPDX-License-Identifier: Apache-2.0
"""Every option of the system, once: YAML key, ROS parameter and `--set` share one dotted name.

The groups are frozen dataclasses; each field carries its description, range and choices, from which the ROS
parameter descriptors and the help texts are made. Unknown names are errors that name the nearest valid one.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ccl_lgs_ros.errors import ConfigError


def option(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A field with its description, inclusive range and choices."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    map_frame: str = option("map", "Frame that the map lives in; 'odom' where nothing publishes map.")
    map_up: tuple[float, float, float] = option((0.0, 0.0, 1.0), "Direction that is up in the map frame.")
    camera_frame: str = option("", "Optical frame of the camera, for drivers that leave frame_id empty or wrong.")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    use_depth: bool = option(True, "Use depth images where there are any.")
    pose_source: str = option("auto", "Where poses come from; auto prefers tf.", choices=("auto", "tf", "topic"))
    sync_slop: float = option(0.02, "Seconds that colour, depth and pose stamps may differ.", low=0, high=1)
    tf_timeout: float = option(1.0, "Seconds that an image waits for its transform.", low=0, high=30)
    tf_cache: float = option(30.0, "Seconds of tf that are kept.", low=1, high=3600)
    pending_queue: int = option(60, "Images that may wait for depth or transforms.", low=1, high=1000)
    depth_scale: float = option(0.0, "Metres per depth unit; 0 = by encoding (16UC1 mm, 32FC1 m).", low=0)
    depth_min: float = option(0.1, "Metres; nearer depth is unknown.", low=0)
    depth_max: float = option(8.0, "Metres; farther depth is unknown.", low=0)
    depth_min_valid_ratio: float = option(
        0.05, "Share of known depth under which a depth image is dropped.", low=0, high=1
    )
    max_image_size: int = option(1280, "Pixels; longer images are scaled down.", low=16, high=8192)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeOptions:
    min_translation: float = option(0.10, "Metres of motion that make a new keyframe.", low=0)
    min_rotation: float = option(0.14, "Radians of rotation that make a new keyframe.", low=0, high=3.15)
    min_interval: float = option(0.0, "Seconds between keyframes at least.", low=0)
    max_interval: float = option(0.0, "Seconds after which a keyframe is taken without motion; 0 = never.", low=0)
    min_sharpness: float = option(
        0.5, "Share of the running median sharpness under which an image is too blurred; 0 = off.", low=0, high=1
    )
    max_count: int = option(2000, "Keyframes kept; see overflow.", low=2)
    overflow: str = option(
        "thin",
        "At max_count: thin = keep every second of what comes, then every fourth...; stop = keep no more.",
        choices=("thin", "stop"),
    )
    jpeg_quality: int = option(95, "Quality of the stored colour images.", low=1, high=100)
    max_disk_gb: float = option(20.0, "Gigabytes that the keyframes may take on disk.", low=0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianOptions:
    seed_stride: int = option(3, "Every how many-th pixel of a depth image may seed a Gaussian.", low=1, high=64)
    seed_alpha: float = option(0.5, "A pixel seeds where the map's rendered alpha is below this.", low=0, high=1)
    max_gaussians: int = option(500_000, "Gaussians that the map may hold.", low=100)
    sh_degree: int = option(0, "Degree of the spherical harmonics of colour.", low=0, high=3)
    iterations: int = option(400, "Steps of photometric optimisation in a refine.", low=0)
    image_width: int = option(320, "Pixels; width at which refine optimises.", low=16)
    holdout_every: int = option(8, "Every how many-th keyframe gives no colour and is scored; 0 = none.", low=0)
    depth_weight: float = option(0.1, "Weight of the depth loss.", low=0)
    ssim_weight: float = option(0.2, "Weight of the D-SSIM term of the colour loss.", low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingOptions:
    rasterizer: str = option("auto", "Draws the Gaussians; auto takes the best that works here.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptionOptions:
    segmenter: str = option("auto", "Proposes masks; auto takes the best that works here.")
    encoder: str = option("auto", "Puts segments and texts into one language space; auto takes the best.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskOptions:
    min_area_px: int = option(150, "Pixels under which a mask is dropped.", low=1)
    min_quality: float = option(0.3, "Predicted IoU times stability under which a mask is dropped.", low=0, high=1)
    max_overlap: float = option(0.8, "IoU with a better mask above which a mask is redundant.", low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationOptions:
    associator: str = option("geometric", "Joins segments across keyframes to tracks.")
    min_overlap: float = option(0.25, "Share of a segment's votes that a track must hold to take it.", low=0, high=1)
    min_agreement: float = option(
        0.7, "Cosine of features under which segment and track are two things.", low=-1, high=1
    )
    min_votes: float = option(10.0, "Rendering weight under which a segment has no 3D support.", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookOptions:
    fitter: str = option("online", "Compresses language vectors to entries.")
    size: int = option(128, "Entries K for fitters that do not grow.", low=2, high=65536)
    merge_cosine: float = option(0.95, "Cosine above which the online fitter joins two vectors.", low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOptions:
    lifter: str = option("registration", "Carries tracks onto Gaussians.")
    slots: int = option(6, "Tracks that a Gaussian's working votes hold.", low=2, high=64)
    min_confidence: float = option(0.5, "Share of votes under which a Gaussian has no track.", low=0, high=1)
    min_labelled: float = option(
        0.4, "Share of what was seen of a Gaussian that must carry votes, or it has no track.", low=0, high=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    threshold: float = option(0.5, "Relevancy above which a track answers a prompt; 0.5 = a tie.", low=0, high=1)
    max_instances: int = option(10, "Instances in an answer.", low=1, high=1000)
    min_gaussians: int = option(15, "Gaussians under which a group is no instance.", low=1)
    connect_distance: float = option(0.0, "Metres that join Gaussians to one instance; 0 = from the map.", low=0)
    level: str = option("auto", "Mask level; auto = best evidence.", choices=("auto", "wp", "sp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapConfig:
    """Everything that decides how a map is made and asked."""

    seed: int = option(0, "Seed of every random choice.", low=0)
    device: str = option("auto", "Where tensors live: auto, cpu, cuda, cuda:1 ...")
    download: bool = option(False, "Allow model weights to be fetched from their hub.")
    frames: FrameOptions = dataclasses.field(default_factory=FrameOptions)
    ingest: IngestOptions = dataclasses.field(default_factory=IngestOptions)
    keyframes: KeyframeOptions = dataclasses.field(default_factory=KeyframeOptions)
    gaussians: GaussianOptions = dataclasses.field(default_factory=GaussianOptions)
    rendering: RenderingOptions = dataclasses.field(default_factory=RenderingOptions)
    perception: PerceptionOptions = dataclasses.field(default_factory=PerceptionOptions)
    masks: MaskOptions = dataclasses.field(default_factory=MaskOptions)
    association: AssociationOptions = dataclasses.field(default_factory=AssociationOptions)
    codebook: CodebookOptions = dataclasses.field(default_factory=CodebookOptions)
    field: FieldOptions = dataclasses.field(default_factory=FieldOptions)
    query: QueryOptions = dataclasses.field(default_factory=QueryOptions)


def options(config: Any, prefix: str = "") -> Iterator[tuple[str, Field, Any]]:
    """Every option as (dotted name, dataclass field, value)."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from options(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", f, value


def load_config(path: Path | str, base: MapConfig | None = None) -> MapConfig:
    """The options of a YAML file: plain nested keys, or a ROS parameter file (`/**: ros__parameters:`).

    Raises:
        ConfigError: if the file is missing, is no YAML mapping, or has an option that does not exist.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the options file {path}: {error.strerror}; check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of options, got {type(content).__name__}")
    if "/**" in content:
        content = content["/**"].get("ros__parameters", {})
    return updated(base or MapConfig(), dict(flattened(content)))


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under dotted names."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def updated(config: MapConfig, changes: Mapping[str, Any]) -> MapConfig:
    """The config with options changed by dotted name; text is read as YAML where the option is no text.

    Raises:
        ConfigError: naming the option, and the nearest valid one, or what it would accept.
    """
    known = {name: (f, value) for name, f, value in options(config)}
    for name, value in changes.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"there is no option '{name}'{hint}")
        config = _replaced(config, name.split("."), checked(name, known[name][0], known[name][1], value))
    return config


def parse_assignment(text: str) -> tuple[str, str]:
    """The two sides of `name=value`."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"expected NAME=VALUE, got '{text}'")
    return name.strip(), value.strip()


def checked(name: str, f: Field, current: Any, value: Any) -> Any:
    """The value in the option's type, within its range and choices; raises ConfigError otherwise."""
    value = _converted(name, current, value)
    low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"option '{name}' must be one of {', '.join(choices)}; got '{value}'")
    if (low is not None and value < low) or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise ConfigError(f"option '{name}' must be {span}; got {value}")
    return value


def _converted(name: str, current: Any, value: Any) -> Any:
    kind = type(current)
    if isinstance(value, str) and kind is not str:
        value = yaml.safe_load(value)
    try:
        if kind is float and isinstance(value, str):
            value = float(value)  # YAML reads 1e-3 as text
        if kind is bool and not isinstance(value, bool):
            raise ValueError
        if kind is int and (isinstance(value, bool) or int(value) != value):
            raise ValueError
        if kind is float and isinstance(value, bool):
            raise ValueError
        if kind is tuple:
            items: Any = value
            numbers = tuple(float(x) for x in items)
            if len(numbers) != len(current):
                raise ValueError
            return numbers
        converted = kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"option '{name}' must be {_described(current)}; got '{value}'") from error
    if kind is float and converted != converted:
        raise ConfigError(f"option '{name}' must be a number; got NaN")
    return converted


def _described(current: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(type(current), f"a list of {len(current) if isinstance(current, tuple) else 0} numbers")


def _replaced(config: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replaced(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: value})
