# SPDX-License-Identifier: Apache-2.0
"""What long work has reached, in one file of a map, so that a killed run goes on from there."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ccl_lgs_ros.storage.durable import disk_errors, replace_file

logger = logging.getLogger(__name__)


class FileCheckpoint:
    """Tensors under a name, found again only by the work that they were saved for.

    A checkpoint is a cache: one that is damaged or of other work counts as absent.

    Args:
        path: the file.
        work: names everything that the work depends on; other words, another work.
    """

    def __init__(self, path: Path, work: str) -> None:
        self._path, self._key = path, hashlib.sha256(work.encode()).hexdigest()

    def load(self) -> Mapping[str, Tensor]:
        """What was saved last for this work; empty if nothing was."""
        if not self._path.is_file():
            return {}
        try:
            with safe_open(self._path, "pt") as file:
                if (file.metadata() or {}).get("work") != self._key:
                    return {}
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            logger.warning("%s cannot be read, so that work begins anew: %s", self._path, error)
            return {}

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace what was saved, at once or not at all.

        Raises:
            MapError: if the disk does not take it.
        """
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with disk_errors("keep a checkpoint in", self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, save(plain, {"work": self._key}))

    def remove(self) -> None:
        """Forget what was saved."""
        with disk_errors("remove", self._path):
            self._path.unlink(missing_ok=True)


def fingerprint(*tensors: Tensor) -> str:
    """A short name of what tensors hold."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
