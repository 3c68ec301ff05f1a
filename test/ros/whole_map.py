# SPDX-License-Identifier: Apache-2.0
"""Whether a map holds all that its writers were told is safe; see crashing.py."""

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from ros.crashing import notes_of, small_map

from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load


def notes(path: Path) -> list[dict[str, Any]]:
    """What the writers were told, the oldest first."""
    file = notes_of(path)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def latest(facts: list[dict[str, Any]], name: str) -> Any:
    return max((fact[name] for fact in facts if name in fact), default=0)


def assert_all_is_there(path: Path, kills: int = 1) -> int:
    """Every noted keyframe, correction, version, checkpoint and copy is whole; the keyframes that were noted.

    A kill leaves at most one thing of a kind that was stored and not told yet.
    """
    facts = notes(path)
    if not facts:
        return 0
    directory = MapDirectory.open(path)
    assert_whole(directory, latest(facts, "version"))
    store = KeyframeStore(directory)
    told = {fact["keyframe"]: fact["crc"] for fact in facts if "keyframe" in fact}
    assert len(told) <= len(store) <= len(told) + kills
    for number, crc in told.items():
        entry = store.entries[number]
        assert crc == [zlib.crc32((store.path / name).read_bytes()) for name in entry.file_names]
    for number in {*list(told)[:1], len(store) - 1} - {-1}:
        assert store[number].stamp_ns == number and (store[number].depth is None) == (number % 2 == 0)
    revision = latest(facts, "revision")
    assert revision <= store.revision <= revision + kills
    for number, entry in enumerate(store.entries[:3]):
        moved = entry.revision > 0
        assert entry.world_from_camera[2, 3] == (store.revision if moved else 0), number
    reached = FileCheckpoint(path / "work.safetensors", "work").load().get("reached", torch.tensor(0))
    assert latest(facts, "reached") <= reached <= latest(facts, "reached") + kills
    copied = [fact for fact in facts if "copied" in fact]
    if copied:
        copy = MapDirectory.open(path.with_name("copy"))
        assert_whole(copy, copied[-1]["copied"])
        kept = KeyframeStore(copy)
        assert len(kept) >= copied[-1]["keyframes"]
        assert kept[len(kept) - 1].image.any()
    return len(told)


def assert_whole(directory: MapDirectory, told: int) -> None:
    """Every version is what was published under its number; the newest is not older than what was told."""
    assert directory.newest_version() >= told
    for version in directory.versions():
        found, expected = load(directory, version), small_map(version)
        assert torch.equal(found.gaussians.means, expected.gaussians.means), version
        assert torch.equal(found.levels["wp"].confidence, expected.levels["wp"].confidence), version
