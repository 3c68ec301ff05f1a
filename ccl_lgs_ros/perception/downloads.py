# SPDX-License-Identifier: Apache-2.0
"""Published weights by the names that error messages give."""

from difflib import get_close_matches
from pathlib import Path

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.perception import clip_models
from ccl_lgs_ros.perception.checkpoints import RELEASES, cached, fetch


def fetch_named(name: str) -> Path:
    """The published weights of a model, fetched unless they are here.

    Args:
        name: a model of SAM or SAM 2, such as "vit_h", or MODEL/TAG of OpenCLIP.

    Raises:
        ConfigError: if nothing is published under this name.
        MissingDependencyError: if it cannot be fetched.
    """
    of_model = {release.model: release for release in RELEASES}
    if name in of_model:
        return cached(of_model[name]) or fetch(of_model[name])
    model, separator, tag = name.partition("/")
    if model and separator and tag:
        return clip_models.fetch(clip_models.ClipSource(model, tag, download=True))
    near = get_close_matches(name, of_model, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(f"no weights of '{name}' are known; {hint}known: {', '.join(of_model)}, MODEL/TAG of OpenCLIP")
