# SPDX-License-Identifier: Apache-2.0
"""Recipes: named choices of parts, each after a publication. A recipe is a file of options, config/recipes/NAME.yaml,
and what people must know of it, which stands here.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ccl_lgs_ros.config import MapConfig, parse_assignment, read_options, updated
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.resources import resource

logger = logging.getLogger(__name__)

QUESTIONS = "query."  # the group of options that concern questions, not the map


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What people must know of a recipe."""

    name: str
    source: str  # who published it, where
    gives: str  # what a user has of it, in one sentence
    differs: str  # from the publication, in one or two sentences


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="ccl_lgs",
        source="CCL-LGS (Tian et al., ICCV 2025)",
        gives="The paper that the default follows, every choice as published: what the default is measured against.",
        differs="What the paper leaves open is estimated, each estimate beside its source in the file. A GPU and the "
        "weights of SAM ViT-H, SAM 2 and OpenCLIP are needed.",
    ),
    Recipe(
        name="opengaussian",
        source="OpenGaussian (Wu et al., NeurIPS 2024)",
        gives="Things found in 3D from the masks of single views alone, without tracks: to ask by text or by a click.",
        differs="Hundreds of steps on a finished map in place of tens of thousands; the numbers of clusters come from "
        "the data, unless they are set, and clusters that touch and differ no more than one mask does are joined.",
    ),
    Recipe(
        name="langsplat",
        source="LangSplat (Qin et al., CVPR 2024)",
        gives="Three levels of masks and a field of three numbers per Gaussian and level, in which any prompt can be "
        "asked of any pixel.",
        differs="300 steps for all levels at once, not 30 000 for each. Answers in 3D come from decoded views that "
        "vote on the Gaussians, which the publication does not have.",
    ),
    Recipe(
        name="langsplat_v2",
        source="LangSplatV2 (Li et al., NeurIPS 2025)",
        gives="Language vectors of full length in every view without a decoder: four entries of a learnt codebook on "
        "each Gaussian.",
        differs="400 steps from coefficients that begin as votes, where the published training takes tens of thousands "
        "from even ones; a sample of the pixels in each.",
    ),
    Recipe(
        name="dr_splat",
        source="Dr. Splat (Jun-Seong et al., CVPR 2025)",
        gives="A vector on every Gaussian without training a scene, as a product code of bytes that does not grow with "
        "what a map holds.",
        differs="The product code is fitted to the map's own segments, or to vectors of your own by a script, not to a "
        "large collection of images.",
    ),
    Recipe(
        name="gaussian_grouping",
        source="Gaussian Grouping (Ye et al., ECCV 2024)",
        gives="An identity on every Gaussian, so that things can be removed, recoloured, moved and exported by "
        "`ccl-lgs edit`.",
        differs="1500 steps on a finished map, not 30 000 together with it. Tracks come from shared Gaussians in place "
        "of a video model.",
    ),
    Recipe(
        name="gaga",
        source="Gaga (Lyu et al., arXiv 2404.07977, 2024)",
        gives="Tracks from views that are unordered, far apart or lit differently, without a video model and without "
        "asking what a thing looks like.",
        differs="What is in front in a mask is told by rendering weight, not by the nearest centres. 1500 steps for "
        "the identities, not 10 000, and a code per group so that it can be asked in words.",
    ),
    Recipe(
        name="embodied_splat",
        source="EmbodiedSplat (CVPR 2026)",
        gives="Language without any training: an online codebook, and on each Gaussian the five codes that it was seen "
        "with most.",
        differs="Gaussians are optimised, not predicted by a network, and no network refines features in 3D.",
    ),
    Recipe(
        name="legaussians",
        source="LEGaussians (Shi et al., CVPR 2024)",
        gives="A learnt uncertainty on every Gaussian, which answers and pictures show, beside quantised features that "
        "a network of place smooths.",
        differs="Vectors of segments in place of dense features of CLIP and DINO; 600 steps on a finished map, not "
        "30 000 together with it, and one code per track.",
    ),
)
ENTRIES: Mapping[str, Recipe] = {entry.name: entry for entry in RECIPES}


def recipe(name: str, base: MapConfig | None = None) -> MapConfig:
    """The options of a recipe on those of a base, which is the default if none is given; '' = the base as it is.

    Raises:
        ConfigError: naming the recipes that there are.
    """
    base = base or MapConfig()
    return updated(base, {**read_options(recipe_path(name)), "recipe": name}) if name else base


def recipe_path(name: str) -> Path:
    """The options file of a recipe, in a source tree or below an install prefix.

    Raises:
        ConfigError: naming the recipes that there are.
    """
    if name not in ENTRIES:
        near = get_close_matches(name, ENTRIES, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise ConfigError(f"there is no recipe '{name}'{hint} there are: {', '.join(ENTRIES)}")
    return resource(f"config/recipes/{name}.yaml")


def asked_as(info: Mapping[str, object], has_field: bool) -> dict[str, Any]:
    """What the recipe that a map was made with says of questions, by dotted name; nothing where there is none.

    Args:
        info: the map's record. A recipe that this version does not have is a warning.
        has_field: the map holds a distilled field; one that holds none yet is not seen by it.
    """
    name = info.get("recipe")
    if not isinstance(name, str) or not name:
        return {}
    if name not in ENTRIES:
        logger.warning("the map was made with the recipe '%s', which is not known here: asked as by default", name)
        return {}
    said = {key: value for key, value in read_options(recipe_path(name)).items() if key.startswith(QUESTIONS)}
    return said if has_field else {key: value for key, value in said.items() if value != "field"}


def configured(
    name: str = "",
    file: Path | str = "",
    assignments: tuple[str, ...] | list[str] = (),
    otherwise: Mapping[str, Any] | None = None,
) -> MapConfig:
    """What is asked for in layers: the default, under a recipe, under a file of options, under assignments.

    Args:
        name: of the recipe; '' = the one that the assignments or the file name, if any.
        file: YAML; '' = none.
        assignments: texts such as "codebook.size=64".
        otherwise: in the place of the recipe where none is named.

    Raises:
        ConfigError: naming what does not exist or does not fit.
    """
    in_file = read_options(file) if file else {}
    assigned = dict(parse_assignment(text) for text in assignments)
    name = str(name or assigned.get("recipe") or in_file.get("recipe") or "")
    base = recipe(name) if name else updated(MapConfig(), otherwise or {})
    return updated(base, {**in_file, **assigned, "recipe": name})
