# SPDX-License-Identifier: Apache-2.0
"""Every way in which saving and loading a map can fail: refused in a sentence that helps, the map as before."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.srv import GetMapInfo, LoadMap, SaveMap
from ros.harness import LATCHED
from ros.wall_map import BUILD, ON_DEMAND, wall_map

from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import FORMAT_VERSION, MapDirectory
from ccl_lgs_ros.storage.snapshot import load


def refused(response: Any, *words: str) -> None:
    """A failure whose message is one sentence with a cause and a remedy."""
    message = response.message
    assert not response.success, words
    assert "; " in message and "\n" not in message and "internal error" not in message, message
    assert all(word in message for word in words), (words, message)


def other_maps(root: Path, sound: Path) -> dict[str, tuple[str, ...]]:
    """Folders that are no map that can be used, beside the map, and what is said of each."""
    (root / "foreign").mkdir()
    (root / "foreign" / "photo.txt").write_text("mine")
    (root / "file").write_text("text")
    for name in ("newer", "torn", "cut", "journal"):
        shutil.copytree(sound, root / name)
    identity = json.loads((sound / "map.json").read_text())
    (root / "newer" / "map.json").write_text(json.dumps({**identity, "format_version": FORMAT_VERSION + 1}))
    (root / "torn" / "map.json").write_text("{")
    for splat in (root / "cut" / "snapshots").glob("*/splat.ply"):
        splat.write_bytes(splat.read_bytes()[:-7])
    journal = root / "journal" / "keyframes" / "keyframes.jsonl"
    journal.write_text(journal.read_text().replace("file_path", "fiel_path", 1))
    return {
        "missing": ("there is no map", "missing"),
        "file": ("file", "is a file"),
        "foreign": ("foreign", "not a map of ours"),
        "newer": ("newer", "format version"),
        "torn": ("torn", "map.json"),
        "cut": ("splat.ply", "is damaged"),
        "journal": ("keyframes.jsonl", "damaged"),
    }


def test_row_28_every_failure_of_saving_and_loading_has_a_reason_and_a_remedy(
    client: Any, start: Any, tmp_path: Path, record_property: Any
) -> None:
    sound = wall_map(tmp_path / "maps" / "map", 4)
    root = sound.parent
    start("training_node", map_path=sound, **ON_DEMAND)
    start("query_node", map_path=sound)
    statuses = client.collect(MapStatus, "status", LATCHED)
    save = lambda path, **more: client.call(SaveMap, "training_node/save_map", path=str(path), **more)  # noqa: E731
    refused(save(root / "copy"), "no map yet", "build_map")
    built = client.result(client.send_goal(BuildMap, "build_map", iterations=2), BUILD).result
    assert built.success, built.message

    others = other_maps(root, sound)
    (root / "out").symlink_to(tmp_path)
    assert save(root / "copy").success
    failures = {
        sound: ("is in", "already"),
        root / "copy": ("there is a map at", "overwrite"),
        root / "file": ("is a file",),
        root / "file" / "map": ("file",),
        root / "foreign": ("not a map of ours",),
        sound / "keyframes" / "images" / "x": ("lie in one another",),
        root: ("lie in one another",),
        root / ("x" * 300): ("give a folder",),
        tmp_path / "elsewhere": ("save_root",),
        "../elsewhere": ("save_root",),
        root / "out" / "elsewhere": ("save_root",),
        "~/elsewhere": ("save_root",),
        "$HOME/x": ("variable",),
        "a\nb": ("control characters",),
    }
    for path, words in failures.items():
        refused(save(path), *words)
    with KeyframeStore(MapDirectory.open(root / "copy"), writable=True):
        refused(save(root / "copy", overwrite=True), "being written by process", "stop it first")
    assert save(root / "copy", overwrite=True).success
    errors = [status for status in statuses if status.state == MapStatus.STATE_ERROR]
    assert statuses and not errors, "what cannot be saved does not stop the work"
    assert not (tmp_path / "elsewhere").exists() and (root / "foreign" / "photo.txt").read_text() == "mine"

    loads = {root / name: words for name, words in others.items()}
    loads |= {Path("../../etc"): ("save_root",), tmp_path: ("save_root",), Path("/etc"): ("save_root",)}
    for path, words in loads.items():
        for node in ("training_node", "query_node"):
            if (node, path.name) == ("query_node", "journal"):
                continue  # it asks the snapshot, which is sound
            refused(client.call(LoadMap, f"{node}/load_map", BUILD, path=str(path)), *words)
            assert client.call(GetMapInfo, "get_map_info").map_path == str(sound), "the map before stays in use"
    refused(client.call(LoadMap, "query_node/load_map"), "path of a folder")
    assert load(MapDirectory.open(sound)).version == built.map_version
    assert save("copies/second").path == str(root / "copies" / "second"), "the node lives on"
    record_property("figure", f"{len(failures) + 2} ways of not saving, {len(loads) + 1} of not loading, none silent")
