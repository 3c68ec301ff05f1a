# SPDX-License-Identifier: Apache-2.0
"""Lets torchvision be imported where its compiled operators do not fit this torch, as a CUDA build beside CPU torch.

Of its operators only non-maximum suppression is needed here; it is given in plain torch. Where torchvision's own
operators load, nothing is changed. torchvision is not imported before somebody asks for it.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


def activate() -> None:
    """Watch for the first import of torchvision."""
    if "torchvision" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None and spec.origin is not None:
            spec.loader = _Loader(spec.loader, Path(spec.origin).parent)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, folder: Path) -> None:
        self.loader, self.folder = loader, folder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        is_patched = not _loads(self.folder / "_C.so")
        if is_patched:
            _define_operators()
        self.loader.exec_module(module)
        if is_patched:
            module.extension._has_ops = lambda: True


_kept_alive: list = []  # what a library defines lasts as long as the object


def _loads(library: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(str(library))
    except OSError:
        return False
    return True


def _define_operators() -> None:
    from torch import library

    operators = library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.impl(name, suppressed, "CPU")
    _kept_alive.append(operators)


def suppressed(boxes, scores, iou_threshold: float):
    """The boxes [M, 4] xyxy that no better one overlaps by more than the threshold, best first [n] int64."""
    import torch

    order = scores.argsort(descending=True, stable=True)
    low, high = boxes[order, :2], boxes[order, 2:]
    area = (high - low).prod(dim=1)
    kept, alive = [], torch.ones(len(order), dtype=torch.bool)
    for index in range(len(order)):
        if alive[index]:
            kept.append(index)
            shared = (torch.minimum(high[index], high) - torch.maximum(low[index], low)).clamp_min(0).prod(dim=1)
            alive &= shared <= iou_threshold * (area[index] + area - shared)
    return order[torch.tensor(kept, dtype=torch.int64)]
