# SPDX-License-Identifier: Apache-2.0
"""The weights of models: which file holds them, where it may lie, how it is fetched, and loading it strictly."""

import logging
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import torch
from torch import Tensor, nn

from ccl_lgs_ros.errors import MissingDependencyError, WeightsError

RANDOM = "random"  # stands for a file: an untrained model
TIMEOUT = 60.0  # seconds without an answer after which fetching fails
# what reading a file that holds no weights may raise
UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """A published file of weights, and the repository of the Hugging Face hub that holds it as well."""

    family: str
    model: str
    url: str
    hub: str = ""

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
RELEASES = (
    Release("sam", "vit_h", f"{_SAM}sam_vit_h_4b8939.pth"),
    Release("sam", "vit_l", f"{_SAM}sam_vit_l_0b3195.pth"),
    Release("sam", "vit_b", f"{_SAM}sam_vit_b_01ec64.pth"),
    Release("sam2", "sam2.1_hiera_l", f"{_SAM2}sam2.1_hiera_large.pt", "facebook/sam2.1-hiera-large"),
    Release("sam2", "sam2.1_hiera_b+", f"{_SAM2}sam2.1_hiera_base_plus.pt", "facebook/sam2.1-hiera-base-plus"),
    Release("sam2", "sam2.1_hiera_s", f"{_SAM2}sam2.1_hiera_small.pt", "facebook/sam2.1-hiera-small"),
    Release("sam2", "sam2.1_hiera_t", f"{_SAM2}sam2.1_hiera_tiny.pt", "facebook/sam2.1-hiera-tiny"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What decides which weights a model of a family gets.

    Without a model's name, a published file says by its own name which model it holds; otherwise it is the first
    release of the family.
    """

    family: str
    named_model: str
    checkpoint: str  # a path, "random", or empty for the published file
    download: bool

    @property
    def is_random(self) -> bool:
        return self.checkpoint == RANDOM

    @property
    def model(self) -> str:
        own = [release for release in RELEASES if release.family == self.family]
        by_file = [release.model for release in own if release.file == Path(self.checkpoint).name]
        return self.named_model or (by_file or [own[0].model])[0]

    @property
    def release(self) -> Release | None:
        """The published file of the model, if there is one."""
        found = (r for r in RELEASES if (r.family, r.model) == (self.family, self.model))
        return next(found, None)

    @property
    def advice(self) -> str:
        """How to get the right file."""
        if self.release is None:
            return f"name a file with the weights of {self.model}"
        return f"get the right file with: {download_command(self.model)}"

    @property
    def description(self) -> str:
        """Names the family, the model and where its weights come from; recorded in maps."""
        release = self.release.file if self.release else ""
        return f"{self.family}/{self.model}/{Path(self.checkpoint).name or release}"

    def problem(self) -> str:
        """Why there are no weights, in one sentence; empty if there are, or if they may be fetched."""
        if self.is_random:
            return ""
        if self.checkpoint:
            return file_problem(Path(self.checkpoint), self.advice) or self._foreign()
        if self.release is None or not (self.download or cached(self.release)):
            return f"the weights of {self.model} are not on this machine; {self.advice}"
        return ""

    def resolve(self) -> Path | None:
        """The file with the weights, fetched if that is allowed; None for an untrained model.

        Raises:
            MissingDependencyError: if there is none, with the command that gets it.
        """
        problem = self.problem()
        if problem:
            raise MissingDependencyError(problem)
        if self.is_random:
            warn_untrained(self.description)
            return None
        if self.checkpoint or self.release is None:
            return Path(self.checkpoint)
        return cached(self.release) or fetch(self.release)

    def _foreign(self) -> str:
        for release in RELEASES:
            if release.file == Path(self.checkpoint).name and release.family != self.family:
                return f"{self.checkpoint} holds the weights of {release.family}, not {self.family}; {self.advice}"
        return ""


def warn_untrained(description: str) -> None:
    """Say that what a model gives means nothing."""
    logger.warning("%s: the weights are random, so that what it says has no meaning", description)


def download_command(name: str) -> str:
    return f"ccl-lgs doctor --download {name}"


def file_problem(path: Path, advice: str) -> str:
    """Why a path is no file with content, in one sentence; empty if it is one."""
    try:
        if path.is_file():
            return "" if path.stat().st_size else f"{path} is empty; {advice}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); {advice}"
    return f"{path} is not a file; {advice}" if path.exists() else f"{path} does not exist; {advice}"


def cached(release: Release) -> Path | None:
    """The published file where earlier downloads of this or other programs left it."""
    torch_home = os.environ.get("TORCH_HOME")
    torch_folder = Path(torch_home) if torch_home else _cache_home() / "torch"
    places = [cache_folder() / release.file, torch_folder / "hub" / "checkpoints" / release.file]
    found = next((path for path in places if not file_problem(path, "")), None)
    return found or (hub_file(release.hub, (release.file,)) if release.hub else None)


def hub_file(repository: str, names: tuple[str, ...]) -> Path | None:
    """The first of some files in the local cache of the Hugging Face hub."""
    home = os.environ.get("HF_HOME")
    hub = os.environ.get("HF_HUB_CACHE")
    folder = Path(hub) if hub else (Path(home) if home else _cache_home() / "huggingface") / "hub"
    snapshots = folder / f"models--{repository.replace('/', '--')}" / "snapshots"
    paths = (path for name in names for path in sorted(snapshots.glob(f"*/{name}")))
    return next((path for path in paths if not file_problem(path, "")), None)


def cache_folder() -> Path:
    """Where fetched weights are kept."""
    return _cache_home() / "ccl_lgs_ros" / "weights"


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def fetch(release: Release) -> Path:
    """The published file, fetched into the cache: complete or not at all.

    Raises:
        MissingDependencyError: if it cannot be fetched.
    """
    target = cache_folder() / release.file
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    logger.info("fetching %s to %s", release.url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urlopen(release.url, timeout=TIMEOUT) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file)
            expected = int(answer.headers.get("Content-Length") or file.tell())
            if file.tell() != expected:
                raise OSError(f"only {file.tell()} of {expected} bytes came")
        partial.replace(target)
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise MissingDependencyError(
            f"{release.url} could not be fetched ({reason}); put the file into {target.parent} by other means"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_tensors(path: Path, advice: str) -> Mapping[str, object]:
    """What a file saved by torch holds, read without running any code that it may contain.

    Raises:
        WeightsError: if it is missing, empty, damaged or no such file.
    """
    problem = file_problem(path, advice)
    if problem:
        raise WeightsError(problem)
    try:
        content = torch.load(path, map_location=torch.device("cpu"), weights_only=True)
    except UNREADABLE as error:
        raise damaged(path, advice) from error
    if not isinstance(content, Mapping):
        raise damaged(path, advice)
    return content


def fill(model: nn.Module, load: Callable[[], object], path: Path, name: str, advice: str) -> None:
    """Loads weights strictly, then sets the model to inference.

    Args:
        load: puts the weights of the file into the model and raises unless all fit.
        name: the model's, for the error.

    Raises:
        WeightsError: if the weights are those of another model.
    """
    try:
        load()
    except UNREADABLE as error:
        raise WeightsError(f"{path} does not hold the weights of {name}; {advice}") from error
    model.eval().requires_grad_(False)


def fill_from(model: nn.Module, weights: object, path: Path, source: Source) -> None:
    """Loads a state dict strictly; raises as `fill`."""

    def load() -> None:
        if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
            raise TypeError("no state dict")
        model.load_state_dict(weights, strict=True)

    fill(model, load, path, source.model, source.advice)


def damaged(path: Path, advice: str) -> WeightsError:
    return WeightsError(f"{path} is damaged or no file of weights; {advice}")
