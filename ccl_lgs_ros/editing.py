# SPDX-License-Identifier: Apache-2.0
"""Things of a map removed, kept alone, recoloured or moved: a map and its things become another map.

What was hidden by a thing was never seen, so nothing is there when the thing is gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ccl_lgs_ros.answers import Instance
from ccl_lgs_ros.geometry import quat_from_rotation, rigid
from ccl_lgs_ros.rendering.harmonics import C0, basis
from ccl_lgs_ros.structures import Gaussians, SemanticField, SemanticMap

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
DARKEST = 0.02  # luminance of a whole thing under which its light and shade mean nothing
DIRECTIONS = 64  # that harmonics are read in to be turned: four times what they need


def gaussians_of(semantic_map: SemanticMap, things: Sequence[Instance]) -> Tensor:
    """Which Gaussians [N] bool belong to any of the things."""
    chosen = torch.zeros(len(semantic_map.gaussians), dtype=torch.bool)
    for thing in things:
        chosen[thing.gaussian_ids] = True
    return chosen


def without(semantic_map: SemanticMap, things: Sequence[Instance]) -> SemanticMap:
    """The map without the things; tracks keep their numbers and ids, and all other Gaussians their order."""
    return _selected(semantic_map, ~gaussians_of(semantic_map, things))


def alone(semantic_map: SemanticMap, things: Sequence[Instance]) -> SemanticMap:
    """The map of nothing but the things."""
    return _selected(semantic_map, gaussians_of(semantic_map, things))


def recoloured(
    semantic_map: SemanticMap, things: Sequence[Instance], colour: tuple[float, float, float]
) -> SemanticMap:
    """The map whose things have another colour, in their own light and shade.

    Each thing becomes the colour times its luminance, relative to its own median; what depends on the direction of the
    view does so likewise. Language stays: a red box that was painted blue is still what the images called it.

    Args:
        colour: red, green and blue in [0, 1].
    """

    def painted(gaussians: Gaussians, thing: Instance) -> Gaussians:
        luminance = gaussians.sh @ gaussians.sh.new_tensor(LUMINANCE)  # [n, S]
        luminance[:, 0] = 0.5 + C0 * luminance[:, 0]
        usual = float(luminance[:, 0].median())
        shade = luminance / usual if usual > DARKEST else (torch.arange(luminance.shape[1]) == 0) * (luminance * 0 + 1)
        shaded = shade[:, :, None] * gaussians.sh.new_tensor(colour)
        shaded[:, 0] = (shaded[:, 0] - 0.5) / C0
        return replace(gaussians, sh=shaded)

    return _changed(semantic_map, things, painted)


def moved(
    semantic_map: SemanticMap, things: Sequence[Instance], by: NDArray[np.floating], turn: float = 0.0
) -> SemanticMap:
    """The map whose things stand elsewhere.

    Args:
        by: [3] metres, world.
        turn: radians about the direction that is up, each thing about the centre of its box; positive is
            counterclockwise seen from above.
    """
    up = np.asarray(semantic_map.map_up, np.float64)
    rotation = Rotation.from_rotvec(turn * up / np.linalg.norm(up)).as_matrix()

    def carried(gaussians: Gaussians, thing: Instance) -> Gaussians:
        centre = np.asarray(thing.box.center, np.float64)
        return transformed(gaussians, rigid(rotation, centre + by - rotation @ centre))

    return _changed(semantic_map, things, carried)


def transformed(gaussians: Gaussians, transform: NDArray[np.floating]) -> Gaussians:
    """Gaussians carried by a rigid transform [4, 4]: centres, axes, and the colours that depend on directions."""
    rotation = torch.from_numpy(np.asarray(transform[:3, :3], np.float64))
    means = gaussians.means.double() @ rotation.T + torch.from_numpy(np.asarray(transform[:3, 3], np.float64))
    if np.array_equal(transform[:3, :3], np.eye(3)):
        return replace(gaussians, means=means.to(gaussians.means.dtype))
    quats = _product(torch.from_numpy(quat_from_rotation(rotation.numpy())), gaussians.quats.double())
    turning = _turned_harmonics(gaussians.sh.shape[1], rotation)
    return replace(
        gaussians,
        means=means.to(gaussians.means.dtype),
        quats=quats.to(gaussians.quats.dtype),
        sh=torch.einsum("st,ntc->nsc", turning, gaussians.sh.double()).to(gaussians.sh.dtype),
    )


def _changed(
    semantic_map: SemanticMap, things: Sequence[Instance], change: Callable[[Gaussians, Instance], Gaussians]
) -> SemanticMap:
    """The map whose things are changed; every other Gaussian stays as it is, to the bit."""
    tensors = {name: tensor.clone() for name, tensor in semantic_map.gaussians.tensors().items()}
    for thing in things:
        new = change(semantic_map.gaussians.select(thing.gaussian_ids), thing)
        for name, tensor in new.tensors().items():
            tensors[name][thing.gaussian_ids] = tensor
    return replace(semantic_map, gaussians=Gaussians(**tensors))


def _selected(semantic_map: SemanticMap, kept: Tensor) -> SemanticMap:
    field = semantic_map.field
    if field is not None:
        field = SemanticField(features={k: rows[kept] for k, rows in field.features.items()}, decoders=field.decoders)
    levels = {name: level.select(kept) for name, level in semantic_map.levels.items()}
    return replace(semantic_map, gaussians=semantic_map.gaussians.select(kept), levels=levels, field=field)


def _product(first: Tensor, second: Tensor) -> Tensor:
    """The rotation `second` [n, 4] wxyz followed by `first` [4]."""
    w, x, y, z = first.unbind()
    matrix = torch.stack([w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w]).view(4, 4)
    return second @ matrix.T


def _turned_harmonics(size: int, rotation: Tensor) -> Tensor:
    """What coefficients [S] become when what they describe is turned, as a matrix [S, S].

    Harmonics of a degree turn among themselves, so their values in enough directions determine it exactly.
    """
    places = torch.arange(DIRECTIONS, dtype=torch.float64) + 0.5
    z, angle = 1.0 - 2.0 * places / DIRECTIONS, places * (np.pi * (3.0 - 5.0**0.5))  # a spiral over the sphere
    across = (1.0 - z * z).sqrt()
    there = torch.stack([across * angle.cos(), across * angle.sin(), z], dim=1)
    before = torch.stack(basis(*(there @ rotation).unbind(dim=1))[:size], dim=1)  # as they were seen from there
    after = torch.stack(basis(*there.unbind(dim=1))[:size], dim=1)
    return torch.linalg.lstsq(after, before).solution
