# SPDX-License-Identifier: Apache-2.0
"""OpenCLIP models: their weights by tag or file, and the preprocessing that belongs to them, also with a file.

The package takes OpenAI's preprocessing for any local file, which is wrong for some models; here a file's
preprocessing is that of the published weights of its model.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ccl_lgs_ros.errors import ConfigError, MissingDependencyError
from ccl_lgs_ros.perception.checkpoints import (
    RANDOM,
    UNREADABLE,
    download_command,
    file_problem,
    fill,
    hub_file,
    warn_untrained,
)
from ccl_lgs_ros.perception.networks import absence, hushed, import_problem, reduced_precision, require, seeded

PACKAGE = "open_clip"
MODEL, TAG = "ViT-B-16", "laion2b_s34b_b88k"  # CCL-LGS's and LangSplat's
TAG_REPOSITORY = "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"  # of these two, so that looking for it needs no import
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
FILE_ENDINGS = (".pt", ".pth", ".bin", ".safetensors", ".npz")
HASH_CHUNK = 1 << 20  # bytes
HASH_DIGITS = 12  # of a file's SHA-256, in the name of its language space

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipSource:
    """What decides which model an encoder gets, with which weights."""

    named_model: str
    checkpoint: str  # a tag, a path, "random" or empty
    download: bool

    @property
    def model(self) -> str:
        return self.named_model or MODEL

    @property
    def is_random(self) -> bool:
        return self.checkpoint == RANDOM

    @property
    def path(self) -> Path | None:
        """The file that is named, if it is a file that is named."""
        is_path = "/" in self.checkpoint or self.checkpoint.endswith(FILE_ENDINGS)
        return Path(self.checkpoint) if is_path else None

    @property
    def tag(self) -> str:
        """The published weights that are wanted; empty for a file, and where the model has none."""
        if self.is_random or self.path:
            return ""
        return self.checkpoint or first_tag(self.model)

    @property
    def advice(self) -> str:
        tag = self.tag or first_tag(self.model)
        if tag:
            return f"get the right file with: {download_command(f'{self.model}/{tag}')}"
        return f"name a file with the weights of {self.model}"


@dataclass(frozen=True, slots=True, eq=False)
class ClipModel:
    """A model with its preprocessing, ready to encode."""

    network: Any
    tokenizer: Any
    identity: str
    dim: int
    image_size: int  # pixels
    interpolation: str
    mean: Tensor  # [3, 1, 1]
    deviation: Tensor  # [3, 1, 1]
    device: torch.device

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Vectors [B, D] of any length for images [B, 3, S, S] in [0, 1]."""
        with reduced_precision(self.device):
            return self.network.encode_image((pixels.to(self.device) - self.mean) / self.deviation)

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Vectors [B, D] of any length."""
        with reduced_precision(self.device):
            return self.network.encode_text(self.tokenizer(texts).to(self.device))


def problem(source: ClipSource) -> str:
    """Why there is no such model here, in one sentence; imports the package only if the weights may be there."""
    if absence(PACKAGE):
        return absence(PACKAGE)
    if source.path:
        missing = file_problem(source.path, source.advice)
        return missing or import_problem(PACKAGE, PACKAGE) or _unknown(source)
    is_default = source.model == MODEL and source.checkpoint in ("", TAG)
    if is_default and not source.download and hub_file(TAG_REPOSITORY, HUB_FILES) is None:
        return f"the weights of {MODEL}/{TAG} are not on this machine; {source.advice}"
    return import_problem(PACKAGE, PACKAGE) or _unknown(source) or _not_here(source)


def build(source: ClipSource, device: torch.device, seed: int) -> ClipModel:
    """The model with its weights, for inference.

    Raises:
        MissingDependencyError: if the package or the weights are missing, with the command that gets them.
        WeightsError: if the file does not hold the weights of this model.
    """
    require(PACKAGE, PACKAGE)
    import open_clip

    path = _resolved(source)
    settings = _settings(source)
    with seeded(seed), hushed(open_clip.factory):
        network: Any = open_clip.create_model(
            source.model,
            load_weights=False,
            device=torch.device("cpu"),
            force_quick_gelu=bool(settings.get("quick_gelu")),
        )
    if path is not None:
        fill(network, lambda: open_clip.load_checkpoint(network, str(path)), path, source.model, source.advice)
    try:
        with hushed(open_clip.factory):
            tokenizer = open_clip.get_tokenizer(source.model)
    except (*UNREADABLE, ImportError) as error:
        raise MissingDependencyError(
            f"the tokenizer of {source.model} is not on this machine; install transformers and set download=true"
        ) from error
    default = open_clip.transform.PreprocessCfg()
    return ClipModel(
        network=network.eval().requires_grad_(False).to(device),
        tokenizer=tokenizer,
        identity=f"open_clip/{source.model}/{_weights_name(source, path, seed)}",
        dim=int((open_clip.get_model_config(source.model) or {})["embed_dim"]),
        image_size=_side(network.visual.image_size),
        interpolation=str(settings.get("interpolation", default.interpolation)),
        mean=torch.tensor(settings.get("mean", default.mean), device=device)[:, None, None],
        deviation=torch.tensor(settings.get("std", default.std), device=device)[:, None, None],
        device=device,
    )


def published(model: str) -> Mapping[str, Mapping[str, Any]]:
    """What the package knows of a model's published weights, by tag: where they are, their preprocessing."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    return {tag: get_pretrained_cfg(model, tag) for tag in list_pretrained_tags_by_model(model)}


def first_tag(model: str) -> str:
    """The weights of a model that are taken where none are named; empty if none are published."""
    if model == MODEL:
        return TAG
    return "" if import_problem(PACKAGE, PACKAGE) else next(iter(published(model)), "")


def fetch(source: ClipSource) -> Path:
    """The published file of a tag, from its hub into the hub's cache.

    Raises:
        MissingDependencyError: if it cannot be fetched.
    """
    require(PACKAGE, PACKAGE)
    from open_clip.pretrained import download_pretrained

    if _unknown(source):
        raise MissingDependencyError(_unknown(source))
    try:
        return Path(download_pretrained(dict(published(source.model)[source.tag])))
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingDependencyError(f"{source.model}/{source.tag} could not be fetched: {reason}") from error


def _resolved(source: ClipSource) -> Path | None:
    if source.is_random:
        warn_untrained(f"open_clip/{source.model}/{RANDOM}")
        return None
    missing = problem(source)
    if missing:
        raise MissingDependencyError(missing)
    return source.path or _cached(source) or fetch(source)


def _cached(source: ClipSource) -> Path | None:
    """The published file of a tag in the cache of the hub."""
    repository, _, file = str(published(source.model)[source.tag].get("hf_hub", "")).rpartition("/")
    return hub_file(repository, (file,) if file else HUB_FILES) if repository else None


def _not_here(source: ClipSource) -> str:
    if source.is_random or source.download or _cached(source):
        return ""
    return f"the weights of {source.model}/{source.tag} are not on this machine; {source.advice}"


def _unknown(source: ClipSource) -> str:
    import open_clip

    if open_clip.get_model_config(source.model) is None:
        return f"open_clip has no model '{source.model}'; ViT-B-16 and ViT-B-32 are two that it has"
    tags = published(source.model)
    if source.is_random or source.path or source.tag in tags:
        return ""
    return f"{source.model} has no published weights '{source.checkpoint}'; known: {', '.join(tags) or 'none'}"


def _settings(source: ClipSource) -> Mapping[str, Any]:
    """The preprocessing of the weights; for a file those of the tag in its name, or what the model's tags share."""
    tags = published(source.model)
    if source.tag:
        return tags[source.tag]
    name = _plain(str(source.path or ""))
    named = [settings for tag, settings in tags.items() if _plain(tag) in name]
    candidates = named or list(tags.values())
    keys = ("mean", "std", "interpolation", "quick_gelu")
    shared = {key: candidates[0].get(key) for key in keys} if candidates else {}
    differing = [key for key in keys if any(other.get(key) != shared[key] for other in candidates)]
    if source.path and differing:
        logger.warning(
            "%s: published weights of %s differ in %s; name the file after its tag to have the right ones",
            source.path,
            source.model,
            ", ".join(differing),
        )
    return {key: value for key, value in shared.items() if key not in differing and value is not None}


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _weights_name(source: ClipSource, path: Path | None, seed: int) -> str:
    """Names the weights in the identity of the language space."""
    if path is None:
        return f"{RANDOM}-{seed}"
    if source.tag:
        return source.tag
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(HASH_CHUNK):
            digest.update(part)
    return digest.hexdigest()[:HASH_DIGITS]


def _side(size: int | tuple[int, int]) -> int:
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ConfigError(f"an encoder must look at square images, this one looks at {size}")
    return sides.pop()
