# SPDX-License-Identifier: Apache-2.0
"""A SemanticMap as a version of a map directory: published whole, mapped when loaded.

splat.ply                  the Gaussians, for any 3DGS viewer
semantics.safetensors      per level: track (u16, 65535 none; i32, -1 none, from 65535 tracks on) and confidence
                           (u8) of each Gaussian, entry and id of each track, codebook; in maps of old without
                           ids, which are the tracks' numbers there; where a lifter made them, what each
                           Gaussian says for itself (sparse, product) and its uncertainty
field.safetensors          of a distilled field: per level the features of each Gaussian, and decoder weights
snapshot.json              everything else, and size and CRC-32 of the others
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.durable import disk_errors
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.ply import read_splat, write_splat
from ccl_lgs_ros.storage.stored_language import language_arrays, language_in
from ccl_lgs_ros.structures import NONE, Codebook, SemanticField, SemanticLevel, SemanticMap

SNAPSHOT_FORMAT_VERSION = 1
SPLAT, SEMANTICS, FIELD, DESCRIPTION = "splat.ply", "semantics.safetensors", "field.safetensors", "snapshot.json"
NONE_U16 = 65535
MAX_DESCRIPTION = 1 << 24  # bytes
MOST_IDS = 1 << 31  # so that an id fits the messages
MAX_WORD = 256  # characters
OPEN_ATTEMPTS = 5  # each fails only if two versions were published since it looked
_CHUNK = 1 << 22  # bytes


def publish(directory: MapDirectory, semantic_map: SemanticMap) -> SemanticMap:
    """Make a map the directory's next version; readers and power cuts see all of it or nothing.

    Returns:
        The map under its version and the directory's map id.

    Raises:
        MapError: if another process publishes or the disk does not take it; earlier versions are intact.
    """
    semantic_map = replace(semantic_map, map_id=directory.map_id)

    def write(folder: Path, version: int) -> None:
        write_splat(folder / SPLAT, semantic_map.gaussians)
        (folder / SEMANTICS).write_bytes(save(_semantics(semantic_map.levels)))
        if semantic_map.field is not None:
            (folder / FIELD).write_bytes(save(_field_arrays(semantic_map.field)))
        description = _description(semantic_map, version, folder)
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, allow_nan=False))

    return replace(semantic_map, version=directory.publish(write))


def load(directory: MapDirectory, version: int | None = None) -> SemanticMap:
    """A published map, the newest unless a version is named; its Gaussians are mapped from the file.

    Raises:
        MapError: if there is no such version, or a file of it is damaged, which is named.
    """
    if version is not None:
        return _loaded(directory, version)
    for _ in range(OPEN_ATTEMPTS):
        newest = directory.newest_version()
        if newest == 0:
            raise MapError(
                f"the map {directory.path} has no snapshot yet; wait for the first, or build it with: "
                f"ccl-lgs map BAG -o {directory.path}"
            )
        try:
            return _loaded(directory, newest)
        except MapError:
            if directory.newest_version() == newest:
                raise
    raise MapError(f"the map {directory.path} changes faster than it can be read; try again")


def published_at(directory: MapDirectory, version: int) -> str:
    """When a version was published, as ISO 8601 says it; raises MapError as `load`."""
    return str(_read_description(directory.snapshot_path(version)).get("created", ""))


def recorded(directory: MapDirectory) -> tuple[Mapping[str, Any], bool]:
    """What the newest version records of itself, and whether it holds a field; raises MapError as `load`."""
    description = _read_description(directory.snapshot_path(directory.newest_version()))
    return description["info"], FIELD in description["files"]


def _loaded(directory: MapDirectory, version: int) -> SemanticMap:
    folder = directory.snapshot_path(version)
    if not folder.is_dir():
        known = ", ".join(map(str, directory.versions())) or "none"
        raise MapError(f"the map {directory.path} has no version {version}; it has: {known}")
    description = _read_description(folder)
    files = description["files"]
    for name in files:
        _check_file(own_file(folder, name), files[name])
    try:
        return SemanticMap(
            gaussians=read_splat(folder / SPLAT),
            levels=_levels(load_file(folder / SEMANTICS), description["levels"]),
            encoder=description["encoder"],
            field=_field(load_file(folder / FIELD), description["levels"]) if FIELD in files else None,
            version=version,
            map_id=description["map_id"],
            map_frame=description["map_frame"],
            map_up=tuple(description["map_up"]),
            info=description["info"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise MapError(_damaged(folder, f"its files do not fit together: {why}")) from error


def _description(semantic_map: SemanticMap, version: int, folder: Path) -> dict[str, Any]:
    return {
        "format_version": SNAPSHOT_FORMAT_VERSION,
        "version": version,
        "map_id": semantic_map.map_id,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "encoder": semantic_map.encoder,
        "map_frame": semantic_map.map_frame,
        "map_up": [float(x) for x in semantic_map.map_up],
        "num_gaussians": len(semantic_map.gaussians),
        "sh_degree": semantic_map.gaussians.sh_degree,
        "levels": {
            name: {"tracks": level.num_tracks, "entries": len(level.codebook)}
            for name, level in semantic_map.levels.items()
        },
        "info": _plain(semantic_map.info),
        "files": {name: _fingerprint(folder / name) for name in (SPLAT, SEMANTICS, FIELD) if (folder / name).exists()},
    }


def _semantics(levels: Mapping[str, SemanticLevel]) -> dict[str, NDArray]:
    arrays = {}
    for name, level in levels.items():
        track = level.track_of_gaussian.cpu().numpy()
        if level.num_tracks < NONE_U16:
            track = np.where(track == NONE, NONE_U16, track).astype(np.uint16)
        arrays[f"{name}.track"] = np.ascontiguousarray(track)
        arrays[f"{name}.confidence"] = level.confidence.cpu().contiguous().numpy()
        arrays[f"{name}.entry_of_track"] = level.entry_of_track.cpu().numpy().astype(np.int32)
        arrays[f"{name}.id_of_track"] = level.ids.cpu().contiguous().numpy()
        arrays[f"{name}.codebook.entries"] = level.codebook.entries.detach().cpu().contiguous().numpy()
        arrays[f"{name}.codebook.weight"] = level.codebook.weight.detach().cpu().contiguous().numpy()
        if level.uncertainty is not None:
            arrays[f"{name}.uncertainty"] = level.uncertainty.cpu().contiguous().numpy()
        if level.language is not None:
            arrays |= language_arrays(name, level.language)
    return arrays


def _levels(arrays: Mapping[str, NDArray], names: Mapping[str, Any]) -> dict[str, SemanticLevel]:
    levels = {}
    for name in names:
        track = arrays[f"{name}.track"]
        is_short = track.dtype == np.uint16
        track = track.astype(np.int32)
        if is_short:
            track[track == NONE_U16] = NONE
        entry_of_track, entries = arrays[f"{name}.entry_of_track"], arrays[f"{name}.codebook.entries"]
        ids, unsure = arrays.get(f"{name}.id_of_track"), arrays.get(f"{name}.uncertainty")
        _check_numbers(f"{name}.track", track, len(entry_of_track))
        _check_numbers(f"{name}.entry_of_track", entry_of_track, len(entries))
        if ids is not None:
            _check_numbers(f"{name}.id_of_track", ids, MOST_IDS)
        levels[name] = SemanticLevel(
            track_of_gaussian=torch.from_numpy(track),
            confidence=torch.from_numpy(arrays[f"{name}.confidence"]),
            entry_of_track=torch.from_numpy(entry_of_track.astype(np.int64)),
            codebook=Codebook(
                entries=torch.from_numpy(entries),
                weight=torch.from_numpy(arrays[f"{name}.codebook.weight"]),
            ),
            id_of_track=None if ids is None else torch.from_numpy(ids.astype(np.int64)),
            language=language_in(arrays, name, len(track), entries.shape),
            uncertainty=None if unsure is None else torch.from_numpy(unsure),
        )
    return levels


def _check_numbers(name: str, numbers: NDArray, count: int) -> None:
    if numbers.dtype.kind not in "iu" or (numbers.size and not NONE <= numbers.min() <= numbers.max() < count):
        raise ValueError(f"{name}: expected whole numbers from {NONE} to {count - 1}")


def _field_arrays(field: SemanticField) -> dict[str, NDArray]:
    arrays = {f"{level}.features": features for level, features in field.features.items()}
    for level, decoder in field.decoders.items():
        arrays |= {f"{level}.decoder.{name}": weights for name, weights in decoder.items()}
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in arrays.items()}


def _field(arrays: Mapping[str, NDArray], levels: Iterable[str]) -> SemanticField:
    """The field, of the levels that it was learnt for: a level without a codebook has none."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    features = {level: tensors[f"{level}.features"] for level in levels if f"{level}.features" in tensors}
    starts = {level: f"{level}.decoder." for level in features}
    decoders = {
        level: {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
        for level, start in starts.items()
    }
    return SemanticField(features=features, decoders=decoders)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    with disk_errors("read", path), own_file(folder, DESCRIPTION).open("rb") as file:
        content = file.read(MAX_DESCRIPTION)
    try:
        description = json.loads(content)
        version = description["format_version"]
        is_whole = {SPLAT, SEMANTICS} <= description["files"].keys()
        _check_kinds(description)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MapError(_damaged(path, "it is no valid description")) from error
    if not is_whole:
        raise MapError(_damaged(path, "it does not name every file"))
    if version != SNAPSHOT_FORMAT_VERSION:
        raise MapError(
            f"the snapshot {folder} has format version {version}, but this program reads version "
            f"{SNAPSHOT_FORMAT_VERSION}; build the map again"
        )
    return description


def _check_kinds(description: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError unless a description's words are such that messages and answers can use them."""
    words = [description[name] for name in ("encoder", "map_id", "map_frame")]
    if not all(isinstance(word, str) and word.isprintable() and len(word) <= MAX_WORD for word in words):
        raise ValueError("encoder, map_id and map_frame are printable words")
    up = [float(x) for x in description["map_up"]]
    if len(up) != 3 or not all(map(math.isfinite, up)) or not any(up):
        raise ValueError("map_up is a direction")
    if not all(isinstance(description[name], dict) for name in ("levels", "info", "files")):
        raise ValueError("levels, info and files are objects")
    if not all(isinstance(file, dict) for file in description["files"].values()):
        raise ValueError("a file has a size and a CRC")


def _check_file(path: Path, expected: Mapping[str, int]) -> None:
    with disk_errors("read", path):
        size = path.stat().st_size
        if size != expected.get("size"):
            raise MapError(_damaged(path, f"it has {size} bytes and should have {expected.get('size')}"))
        if _fingerprint(path) != expected:
            raise MapError(_damaged(path, "its content has changed"))


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged: {why}; remove that version to go back to the one before it, or build the map again"


def _fingerprint(path: Path) -> dict[str, int]:
    crc, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return {"size": size, "crc32": crc}


def _plain(value: Any) -> Any:
    """A figure as JSON has it: no infinities, no numpy."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, torch.Tensor)):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
