# SPDX-License-Identifier: Apache-2.0
"""What asks a map follows its versions, each with an index of its own."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_scene import BLUE, RED, box_surface, map_of

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import MissingDependencyError
from ccl_lgs_ros.ros import map_reader
from ccl_lgs_ros.ros.map_reader import MapReader, NoMapError
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish


def test_the_index_is_made_once_per_version_and_only_when_it_is_used(tmp_path: Path) -> None:
    box = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    directory = MapDirectory.create(tmp_path / "map")
    reader = MapReader(directory.path, MapConfig())
    for version, (points, track) in enumerate(
        ((box, torch.zeros(len(box))), (np.concatenate([box, box + 1.0]), torch.arange(2).repeat_interleave(len(box)))),
        start=1,
    ):
        publish(directory, map_of(points, track, torch.stack([RED, BLUE])))
        assert reader.refresh()
        assert reader.version == version
        index = reader.index
        assert index.num_bytes == 0
        assert index["wp"].count.tolist() == [len(box), len(points) - len(box)]
        assert reader.index is index
        assert not reader.refresh()
        assert reader.index is index


def reader_of(tmp_path: Path, **changed) -> MapReader:
    """A reader of a map in a language that a test makes up."""
    directory = MapDirectory.create(tmp_path / "map")
    box = box_surface((0, 0, 0.1), (0.2, 0.2, 0.2))
    publish(directory, map_of(box, torch.zeros(len(box)), torch.stack([RED])))
    reader = MapReader(directory.path, updated(MapConfig(), changed))
    assert reader.refresh()
    return reader


class Speaker:
    identity = "test/1"


def test_an_encoder_is_loaded_once_while_other_things_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go, loaded = threading.Event(), []

    def slowly(*_: object) -> Speaker:
        may_go.wait(30)
        loaded.append(Speaker())
        return loaded[-1]

    monkeypatch.setattr(map_reader, "create_encoder", slowly)
    reader = reader_of(tmp_path)
    assert not reader.is_ready_to_ask() and not reader.is_ready_to_ask()
    may_go.set()
    assert isinstance(reader.encoder, Speaker) and reader.is_ready_to_ask()
    box = box_surface((0, 0, 0.1), (0.1, 0.1, 0.1))
    publish(MapDirectory.open(reader.path), map_of(box, torch.zeros(len(box)), torch.stack([RED])))
    assert reader.refresh() and reader.is_ready_to_ask()
    assert len(loaded) == 1, "the next version speaks the same language"


def test_a_model_that_is_missing_is_named_and_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def fail(*_: object) -> Speaker:
        attempts.append(1)
        if len(attempts) == 1:
            raise MissingDependencyError("get it with: a command")
        return Speaker()

    monkeypatch.setattr(map_reader, "create_encoder", fail)
    reader = reader_of(tmp_path)
    for _ in range(2):
        with pytest.raises(MissingDependencyError, match="a command"):
            _ = reader.encoder
    assert reader.is_ready_to_ask() and reader.lack == "get it with: a command" and len(attempts) == 1
    monkeypatch.setattr(map_reader, "TRY_AGAIN", 0.0)
    assert isinstance(reader.encoder, Speaker) and not reader.lack


def test_what_is_named_and_does_not_work_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "needs a GPU" in reader_of(tmp_path, **{"rendering.rasterizer": "gsplat"}).lack
    nothing = MapReader(tmp_path / "none", MapConfig())
    assert not nothing.lack and nothing.is_ready_to_ask(), "without a map there is nothing to load"
    with pytest.raises(NoMapError, match="no map at"):
        _ = nothing.encoder
