# SPDX-License-Identifier: Apache-2.0
"""What a refine of the language tells of itself is true of the map that it makes."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from labelled_wall import labels_by_side, wall

from ccl_lgs_ros import semantics
from ccl_lgs_ros.codebook.exact import ExactFitter
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.labelling import LevelLabels, Lifting
from ccl_lgs_ros.parts import Parts
from ccl_lgs_ros.structures import Codebook


def entries_told(monkeypatch: pytest.MonkeyPatch, own: dict[str, LevelLabels]) -> object:
    """The count of entries in use that is told, where a lifter made its own labels, or none."""
    gaussians, table = wall(), labels_by_side().table
    lifting = Lifting(
        gaussians=gaussians,
        label_of_gaussian={"wp": torch.zeros(len(gaussians), dtype=torch.int32)},
        confidence={"wp": torch.full((len(gaussians),), 255, dtype=torch.uint8)},
        labels=own,
    )
    monkeypatch.setattr(semantics, "lift", lambda *_, **__: lifting)
    parts = cast(Parts, SimpleNamespace(fitter=ExactFitter()))
    _, levels, figures = semantics.refined(gaussians, cast(Any, None), {"wp": table}, parts, MapConfig())
    assert figures["entries"] == {"wp": int((levels["wp"].codebook.weight > 0).sum())}
    return figures["entries"]


def test_entries_in_use_are_those_of_the_map_whoever_made_its_codebook(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = labels_by_side()
    codebook = Codebook(entries=torch.eye(6)[:5], weight=torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0]))
    assert entries_told(monkeypatch, {"wp": dataclasses.replace(labels, codebook=codebook)}) == {"wp": 4}
    assert entries_told(monkeypatch, {}) == {"wp": len(labels.table.features.unique(dim=0))}
