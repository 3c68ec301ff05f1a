# SPDX-License-Identifier: Apache-2.0
"""Builds the networks of SAM 2 (Ravi et al., 2024) from the configurations in its package."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.perception.checkpoints import Source, fill_from, read_tensors
from ccl_lgs_ros.perception.networks import absence, import_problem, seeded

PACKAGE = "sam2"
STRIDE = 32  # pixels: coarsest step of the image encoder, which the size of images must be a multiple of
VERSIONS = ("sam2", "sam2.1")  # folders of configurations for inference
# what the package's own builder sets beside its configuration files
DECODER_ARGUMENTS = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def problem(source: Source, *modules: str) -> str:
    """Why SAM 2 does not work here, in one sentence; imports the package only if the weights are there."""
    return absence(PACKAGE) or _unknown(source.model) or source.problem() or import_problem(PACKAGE, *modules)


def build(target: str, source: Source, image_size: int, seed: int, device: torch.device, **settings: object) -> Any:
    """A network with its weights, for inference.

    The package composes its configurations through hydra's global state, which fails in a program that uses hydra
    itself; so they are read here as files.

    Args:
        target: "module.Class" of the network.
        image_size: pixels at which it looks; 0 = its own.
        settings: more arguments of the network.

    Raises:
        ConfigError: if the image size does not fit.
        MissingDependencyError: if there are no weights.
        WeightsError: if the file does not hold the weights of this model.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    if image_size % STRIDE:
        raise ConfigError(f"the image size of sam2 must be a multiple of {STRIDE}, got {image_size}")
    path = source.resolve()
    config: Any = OmegaConf.load(configurations()[source.model])
    config.model._target_ = target
    more = {"sam_mask_decoder_extra_args": DECODER_ARGUMENTS, **settings}
    for name, value in {**more, "image_size": image_size or config.model.image_size}.items():
        OmegaConf.update(config, f"model.{name}", value, force_add=True)
    OmegaConf.resolve(config)
    with seeded(seed):
        model = instantiate(config.model, _recursive_=True)
    if path is not None:
        fill_from(model, read_tensors(path, source.advice).get("model"), path, source)
    return model.eval().requires_grad_(False).to(device)


def configurations() -> dict[str, Path]:
    """The configuration files of the installed package by model."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    paths = (path for folder in folders or () for path in sorted(Path(folder, "configs").glob("*/*.yaml")))
    return {path.stem: path for path in paths if path.parent.name in VERSIONS}


def _unknown(model: str) -> str:
    known = configurations()
    return "" if model in known else f"sam2 has no model '{model}'; known: {', '.join(known)}"
