# SPDX-License-Identifier: Apache-2.0
"""The whole map as messages: clouds to look at, and the Gaussians with their language for other programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from ccl_lgs_ros.colours import base_colors, track_colors
from ccl_lgs_ros.level_names import coarse_first
from ccl_lgs_ros.msg import SemanticGaussians
from ccl_lgs_ros.ros.clouds import cloud_message, packed_rgb
from ccl_lgs_ros.ros.vocabulary import label_of_gaussian, whole_level
from ccl_lgs_ros.structures import NONE, Gaussians, SemanticMap

CHUNK = 20_000  # Gaussians in a message of semantic_gaussians: 1.5 MB
BOOK_CHUNK = 125_000  # numbers of the codebooks in the same message: 0.5 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a viewer of clouds can take."""

    max_points: int
    min_opacity: float = 0.1  # fainter Gaussians show next to nothing
    label_of_track: NDArray[np.uint16] | None = None  # [T] of the whole level; None where there is no vocabulary


def gaussian_cloud(semantic_map: SemanticMap, header: Header, look: Look) -> PointCloud2:
    """Centres x y z in metres with their colour rgb, evenly thinned to what a viewer can take."""
    shown = _shown(semantic_map.gaussians, look)
    return cloud_message(
        _coloured(semantic_map.gaussians, shown, base_colors(semantic_map.gaussians.sh[shown])), header
    )


def semantic_cloud(semantic_map: SemanticMap, header: Header, look: Look) -> PointCloud2:
    """The same points in the colours of their tracks at the whole level, grey where there is none, and their labels."""
    shown = _shown(semantic_map.gaussians, look)
    level = whole_level(semantic_map)
    track = level.track_of_gaussian.numpy()[shown] if level else np.full(len(shown), NONE)
    columns = _coloured(semantic_map.gaussians, shown, track_colors(track))
    if level is not None and look.label_of_track is not None:
        columns["label"] = label_of_gaussian(level, look.label_of_track)[shown]
    return cloud_message(columns, header)


def semantic_gaussians(semantic_map: SemanticMap, header: Header) -> Iterator[SemanticGaussians]:
    """All Gaussians with their tracks and the codebooks, in chunks, so that no message is large."""
    names = coarse_first(semantic_map.levels)
    books = [semantic_map.levels[name].codebook.entries.float().numpy() for name in names]
    numbers = np.concatenate([np.zeros(0, np.float32), *(book.ravel() for book in books)]).astype(np.float32)
    count = len(semantic_map.gaussians)
    chunks = max(-(-count // CHUNK), -(-len(numbers) // BOOK_CHUNK), 1)
    for index in range(chunks):
        message = SemanticGaussians(
            header=header, map_id=semantic_map.map_id, map_version=semantic_map.version, total_count=count,
            chunk_index=index, chunk_count=chunks, encoder=semantic_map.encoder, levels=names,
            codebook_sizes=[len(book) for book in books], codebook_dim=books[0].shape[1] if books else 0,
        )  # fmt: skip
        first = min(index * CHUNK, count)
        message.cloud = cloud_message(_columns(semantic_map, names, slice(first, min(first + CHUNK, count))), header)
        message.codebooks.frombytes(numbers[index * BOOK_CHUNK : (index + 1) * BOOK_CHUNK].tobytes())
        yield message


def _shown(gaussians: Gaussians, look: Look) -> NDArray[np.int64]:
    solid = np.flatnonzero(gaussians.opacities.detach().numpy() >= look.min_opacity)
    if len(solid) <= look.max_points:
        return solid
    return solid[np.linspace(0, len(solid) - 1, look.max_points).astype(np.int64)]


def _coloured(gaussians: Gaussians, shown: NDArray[np.int64], colors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    x, y, z = gaussians.means.detach().numpy()[shown].T
    return {"x": x, "y": y, "z": z, "rgb": packed_rgb(colors)}


def _columns(semantic_map: SemanticMap, names: list[str], rows: slice) -> dict[str, NDArray]:
    """The columns that SemanticGaussians.msg lists, of some Gaussians."""
    gaussians = semantic_map.gaussians.select(rows).detached()  # type: ignore[arg-type]
    quats = gaussians.quats / gaussians.quats.norm(dim=1, keepdim=True).clamp_min(1e-12)
    columns: dict[str, NDArray] = dict(zip("xyz", gaussians.means.numpy().T, strict=True))
    columns["rgb"] = packed_rgb(base_colors(gaussians.sh))
    columns["opacity"] = gaussians.opacities.numpy()
    columns |= {f"scale_{axis}": column for axis, column in zip("xyz", gaussians.scales.numpy().T, strict=True)}
    columns |= {f"rot_{axis}": quats[:, place].numpy() for place, axis in ((1, "x"), (2, "y"), (3, "z"), (0, "w"))}
    columns["id"] = np.arange(rows.start, rows.stop, dtype=np.uint32)
    for name in names:
        level = semantic_map.levels[name]
        track = level.track_of_gaussian[rows].numpy().astype(np.int32)
        entry = level.entry_of_track.numpy()[np.maximum(track, 0)] if level.num_tracks else np.full(len(track), NONE)
        columns[f"track_{name}"] = track
        columns[f"entry_{name}"] = np.where(track == NONE, NONE, entry).astype(np.int32)
        columns[f"confidence_{name}"] = level.confidence[rows].numpy()
    return columns
