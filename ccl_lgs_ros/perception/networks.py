# SPDX-License-Identifier: Apache-2.0
"""What the adapters of model packages share: whether a package works, how a model starts, how precisely it computes."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import torch

from ccl_lgs_ros.errors import MissingDependencyError

INSTALL = {
    "open_clip": "pip install torchvision open_clip_torch",
    "sam2": "SAM2_BUILD_CUDA=0 pip install --no-build-isolation torchvision sam2",
    "segment_anything": "pip install torchvision segment-anything",
}

logger = logging.getLogger(__name__)
_replacing = threading.RLock()  # held while a name of a package stands for something else


def absence(package: str) -> str:
    """Why a model package is not there, in one sentence; looks for it without importing it."""
    return "" if find_spec(package) else f"{package} is not installed; install it with: {INSTALL[package]}"


def import_problem(package: str, *modules: str) -> str:
    """Why modules of a model package cannot be imported, in one sentence; empty where they can."""
    if absence(package):
        return absence(package)
    try:
        for module in modules:
            import_module(module)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        # a torchvision that was built for another torch fails in any of these ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"{package} cannot be imported ({reason}); install it for this torch with: {INSTALL[package]}"
    return ""


def require(package: str, *modules: str) -> None:
    """Raises MissingDependencyError unless modules of a model package can be imported."""
    problem = import_problem(package, *modules)
    if problem:
        raise MissingDependencyError(problem)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Models that are made inside start from the same random weights; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def reduced_precision(device: torch.device) -> AbstractContextManager:
    """bfloat16 where a GPU computes, as the models' authors do; full precision elsewhere, where it is faster."""
    return torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else nullcontext()


def hushed(module: ModuleType) -> AbstractContextManager[None]:
    """What a module of a package tells the root logger counts as DEBUG inside, of our own logger."""
    debug = logger.debug
    return replaced(module, "logging", SimpleNamespace(debug=debug, info=debug, warning=debug, error=logger.error))


@contextmanager
def replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """A name of a package's module stands for something else inside: for what the package gives no argument for."""
    with _replacing:
        original = getattr(module, name)
        setattr(module, name, value)
        try:
            yield
        finally:
            setattr(module, name, original)
