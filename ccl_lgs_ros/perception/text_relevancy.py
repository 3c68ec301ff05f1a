# SPDX-License-Identifier: Apache-2.0
"""How much a feature looks like a prompt rather than like anything, in a space that images and texts share."""

import torch
from torch import Tensor

from ccl_lgs_ros.errors import ConfigError

PLACE = "{}"  # where a template takes the prompt


def text_relevancy(features: Tensor, prompt: Tensor, negatives: Tensor, *, sharpness: float, form: str) -> Tensor:
    """How much more each feature resembles the prompt than generic words.

    The joint form is 0.5 where the prompt ties with all negatives together, so it falls as their number grows; the
    paper prints it without a temperature, which is sharpness 1 and almost flat.

    Args:
        features: [..., D] unit rows.
        prompt: [D] unit.
        negatives: [P, D] unit, P >= 1; generic words such as "object".
        sharpness: inverse temperature of the softmax, > 0.
        form: "pairwise" = the least of the softmaxes against each negative, "joint" = one softmax over all.

    Returns:
        [...] in (0, 1); for pairwise 0.5 means "no more than something generic".

    Raises:
        ValueError: if there is no negative to compare with, or no such form.

    Source: pairwise: LERF (Kerr et al., 2023), relevancy score, sharpness 10; joint: CCL-LGS (2025), query.
    """
    if negatives.ndim != 2 or negatives.shape[0] == 0:
        raise ValueError(f"negatives: expected [P, D] with P >= 1, got {tuple(negatives.shape)}")
    features = features.float()
    lead = sharpness * (features @ prompt.to(features))[..., None] - sharpness * (features @ negatives.to(features).T)
    if form == "pairwise":
        return lead.amin(dim=-1).sigmoid()
    if form == "joint":
        return (-torch.logsumexp(-lead, dim=-1)).sigmoid()
    raise ValueError(f"form: expected 'pairwise' or 'joint', got {form!r}")


def negative_texts(option: str) -> tuple[str, ...]:
    """The generic texts that the option perception.negatives names, by commas.

    Raises:
        ConfigError: if it names none.
    """
    texts = tuple(text.strip() for text in option.split(",") if text.strip())
    if not texts:
        raise ConfigError("option 'perception.negatives' must name at least one text, such as object")
    return texts


def prompt_templates(option: str) -> tuple[str, ...]:
    """The sentences around a prompt that the option perception.templates holds, separated by |.

    Raises:
        ConfigError: if there is none, or one without a place for the prompt.
    """
    templates = tuple(template.strip() for template in option.split("|") if template.strip())
    if not templates or any(PLACE not in template for template in templates):
        raise ConfigError(
            f"option 'perception.templates' needs {PLACE} in every sentence, separated by |; got '{option}'"
        )
    return templates


def phrased(text: str, templates: tuple[str, ...]) -> list[str]:
    """The text in each of the sentences."""
    return [template.replace(PLACE, text) for template in templates]


def ensemble(vectors: Tensor) -> Tensor:
    """The unit vectors [..., D] along the means of several of one text [..., S, D], of any lengths.

    Source: prompt ensembles of CLIP (Radford et al., 2021, section 3.1.4), which averages in the embedding space.
    """
    directions = torch.nn.functional.normalize(vectors.float(), dim=-1)
    return torch.nn.functional.normalize(directions.mean(dim=-2), dim=-1)
