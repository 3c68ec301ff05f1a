# SPDX-License-Identifier: Apache-2.0
"""Every exchangeable part by name, one line each; a part's module is imported when the part is made."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ccl_lgs_ros.errors import ConfigError

PARTS: dict[str, dict[str, str]] = {
    "rasterizer": {
        "gsplat": "rendering.gsplat_cuda:GsplatRasterizer",
        "numba_cpu": "rendering.numba_cpu:NumbaRasterizer",
        "torch_reference": "rendering.torch_reference:TorchRasterizer",
    },
    "densifier": {
        "relocation": "gaussians.relocation:RelocatingDensifier",
        "splitting": "gaussians.splitting:SplittingDensifier",
        "none": "gaussians.keeping:NoDensifier",
        "gsplat_default": "rendering.gsplat_densifiers:GsplatDefaultDensifier",
        "gsplat_mcmc": "rendering.gsplat_densifiers:GsplatMcmcDensifier",
    },
    "segmenter": {
        "sam2": "perception.sam2_segmenter:Sam2Segmenter",
        "sam": "perception.sam_segmenter:SamSegmenter",
        "builtin": "perception.builtin_segmenter:BuiltinSegmenter",
        "topic": "perception.topic_segmenter:TopicSegmenter",
    },
    "encoder": {
        "open_clip": "perception.clip_encoder:ClipEncoder",
        "classifier": "perception.classifier:ClassifierEncoder",
        "builtin": "perception.builtin_encoder:BuiltinEncoder",
    },
    "associator": {
        "geometric": "association.geometric:GeometricAssociator",
        "memory_bank": "association.memory_bank:MemoryBankAssociator",
    },
    "propagator": {
        "sam2": "perception.sam2_propagator:Sam2Propagator",
    },
    "fitter": {
        "online": "codebook.online:OnlineFitter",
        "contrastive": "codebook.contrastive:ContrastiveFitter",
        "kmeans": "codebook.kmeans:KMeansFitter",
        "none": "codebook.exact:ExactFitter",
    },
    "lifter": {
        "registration": "field.registration:RegistrationLifter",
        "distillation": "field.distillation:DistillationLifter",
        "smoothed_distillation": "field.smoothed_distillation:SmoothedDistillationLifter",
        "identity_encoding": "field.identity_encoding:IdentityEncodingLifter",
        "latent_distillation": "field.latent_distillation:LatentDistillationLifter",
        "weighted_mean": "field.weighted_mean:WeightedMeanLifter",
        "top_contributors": "field.top_contributors:TopContributorsLifter",
        "instance_field": "field.instance_field:InstanceFieldLifter",
        "sparse_coefficients": "field.sparse_coefficients:SparseCoefficientsLifter",
        "cached_codes": "field.cached_codes:CachedCodesLifter",
    },
}


def names(kind: str) -> tuple[str, ...]:
    """The parts of a kind, best first."""
    return tuple(PARTS[kind])


def part_class(kind: str, name: str) -> type:
    """The class of a part.

    Raises:
        ConfigError: naming the parts that there are.
    """
    parts = PARTS[kind]
    if name not in parts:
        near = get_close_matches(name, parts, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"there is no {kind} '{name}'; {hint}known: {', '.join(parts)}")
    module, _, attribute = parts[name].partition(":")
    return getattr(import_module(f"ccl_lgs_ros.{module}"), attribute)


def create(kind: str, name: str, group: Any, **context: Any) -> Any:
    """The named part, given what its constructor asks for: options of its config group, or of the context."""
    cls = part_class(kind, name)
    return cls(**asked_for(cls, group, context))


def asked_for(callee: Any, group: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a constructor or check of a part takes."""
    given = {**context, **{f.name: getattr(group, f.name) for f in fields(group)}}
    return {name: given[name] for name in inspect.signature(callee).parameters if name in given}
