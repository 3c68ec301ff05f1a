# SPDX-License-Identifier: Apache-2.0
"""A published map is loaded equal, corrupt ones are refused by name, and killing the publisher loses none."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import NONE_U16, load, publish
from ccl_lgs_ros.structures import Codebook, Gaussians, Segments, SemanticField, SemanticLevel, SemanticMap

FILES = ["splat.ply", "semantics.safetensors", "snapshot.json"]


def some_map(count: int = 50, tracks: int = 5, shift: float = 0.0) -> SemanticMap:
    generator = torch.Generator().manual_seed(count + tracks)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    gaussians = Gaussians(
        means=some(count, 3) + shift,
        quats=some(count, 4),
        log_scales=some(count, 3),
        logit_opacities=some(count),
        sh=some(count, 4, 3),
    )
    levels = {
        name: SemanticLevel(
            track_of_gaussian=torch.randint(-1, tracks, (count,), generator=generator, dtype=torch.int32),
            confidence=torch.randint(0, 256, (count,), generator=generator, dtype=torch.uint8),
            entry_of_track=torch.randint(-1, 3, (tracks,), generator=generator),
            codebook=Codebook(entries=some(3, 8), weight=some(3).abs()),
        )
        for name in LEVELS
    }
    return SemanticMap(
        gaussians=gaussians,
        levels=levels,
        encoder="builtin/1",
        map_frame="odom",
        map_up=(0.0, -1.0, 0.0),
        info={"held_out": {"psnr": 20.5, "views": 3}, "backends": ["a", "b"]},
    )


def assert_equal(first: SemanticMap, second: SemanticMap) -> None:
    for name, tensor in first.gaussians.tensors().items():
        assert torch.equal(tensor, second.gaussians.tensors()[name]), name
    assert first.levels.keys() == second.levels.keys()
    for name, level in first.levels.items():
        other = second.levels[name]
        for key in ("track_of_gaussian", "confidence", "entry_of_track"):
            mine, theirs = getattr(level, key), getattr(other, key)
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs), (name, key)
        assert torch.equal(level.codebook.entries, other.codebook.entries)
        assert torch.equal(level.codebook.weight, other.codebook.weight)
    for key in ("encoder", "map_frame", "map_up", "version", "map_id", "info"):
        assert getattr(first, key) == getattr(second, key)


@pytest.fixture
def directory(tmp_path: Path) -> MapDirectory:
    return MapDirectory.create(tmp_path / "map")


@pytest.mark.parametrize("count", [0, 50])
def test_a_published_map_is_loaded_equal(directory: MapDirectory, count: int) -> None:
    published = publish(directory, some_map(count))
    assert (published.version, published.map_id) == (1, directory.map_id)
    assert_equal(published, load(directory))
    assert_equal(published, load(MapDirectory.open(directory.path), 1))


def test_the_newest_version_is_loaded_and_an_earlier_one_on_request(directory: MapDirectory) -> None:
    first, second = publish(directory, some_map(3)), publish(directory, some_map(4))
    assert_equal(second, load(directory))
    assert_equal(first, load(directory, 1))
    with pytest.raises(MapError, match="it has: 1, 2"):
        load(directory, 7)


def test_a_map_without_a_snapshot_says_so(directory: MapDirectory) -> None:
    with pytest.raises(MapError, match="no snapshot yet"):
        load(directory)


@pytest.mark.parametrize("tracks", [NONE_U16 - 1, NONE_U16, NONE_U16 + 1, 100_000])
def test_more_tracks_than_16_bits_name_are_kept_apart(directory: MapDirectory, tracks: int) -> None:
    track = torch.tensor([-1, 0, 65534, min(65535, tracks - 1), tracks - 1], dtype=torch.int32)
    level = SemanticLevel(
        track_of_gaussian=track.clamp_max(tracks - 1),
        confidence=torch.zeros(5, dtype=torch.uint8),
        entry_of_track=torch.zeros(tracks, dtype=torch.int64),
        codebook=Codebook(entries=torch.ones(1, 2), weight=torch.ones(1)),
    )
    published = publish(directory, SemanticMap(gaussians=some_map(5).gaussians, levels={"wp": level}, encoder="x"))
    assert_equal(published, load(directory))


def test_semantics_take_at_most_6_bytes_of_a_gaussian(directory: MapDirectory) -> None:
    sizes = []
    for count in (1000, 11_000):
        publish(directory, some_map(count))
        sizes.append((directory.snapshot_path(directory.newest_version()) / FILES[1]).stat().st_size)
    assert sizes[1] - sizes[0] <= 6 * 10_000 + 64  # the numbers in the file's own header grow by some digits


def test_semantics_of_more_tracks_than_16_bits_name_take_10_bytes_of_a_gaussian(directory: MapDirectory) -> None:
    sizes = []
    for count in (1000, 11_000):
        publish(directory, some_map(count, tracks=NONE_U16))
        sizes.append((directory.snapshot_path(directory.newest_version()) / FILES[1]).stat().st_size)
    assert abs(sizes[1] - sizes[0] - 10 * 10_000) <= 64


def test_figures_that_json_cannot_hold_do_not_stop_publishing(directory: MapDirectory) -> None:
    odd = {"psnr": float("inf"), "loss": float("nan"), "seconds": torch.tensor(2.0), "list": (1, float("-inf"))}
    publish(directory, replace(some_map(), info=odd))
    assert load(directory).info == {"psnr": None, "loss": None, "seconds": 2.0, "list": [1, None]}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "short", "empty", "flipped"])
def test_a_damaged_file_is_named_and_the_version_before_still_opens(
    directory: MapDirectory, name: str, damage: str
) -> None:
    first = publish(directory, some_map(3))
    publish(directory, some_map(4))
    path = directory.snapshot_path(2) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        at = len(content) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    else:
        path.write_bytes(content[:-9] if damage == "short" else b"")
    with pytest.raises(MapError, match=name.replace(".", r"\.")) as error:
        load(directory)
    assert "\n" not in str(error.value)
    assert_equal(first, load(directory, 1))


def test_files_of_two_snapshots_do_not_mix(directory: MapDirectory) -> None:
    publish(directory, some_map(3))
    publish(directory, some_map(3, shift=1.0))
    one, two = directory.snapshot_path(1), directory.snapshot_path(2)
    (two / "splat.ply").write_bytes((one / "splat.ply").read_bytes())
    with pytest.raises(MapError, match=r"splat\.ply"):
        load(directory)


def test_a_snapshot_of_another_format_is_refused(directory: MapDirectory) -> None:
    publish(directory, some_map(3))
    path = directory.snapshot_path(1) / "snapshot.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(MapError, match="format version 99"):
        load(directory)


def test_who_has_a_snapshot_open_keeps_it_when_it_is_removed(directory: MapDirectory) -> None:
    published = publish(directory, some_map(2000))
    held = load(directory)
    for _ in range(4):
        publish(directory, some_map(3))
    assert not directory.snapshot_path(1).exists()
    assert_equal(published, held)


PUBLISHER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_snapshot import MapDirectory, publish, some_map
directory = MapDirectory.open(sys.argv[1])
while True:
    version = publish(directory, some_map(3000 + directory.newest_version() + 1)).version
    print(version, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.07])
def test_killing_the_publisher_leaves_the_newest_snapshot_whole(directory: MapDirectory, delay: float) -> None:
    command = [sys.executable, "-c", PUBLISHER, str(directory.path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as publisher:
        assert publisher.stdout is not None
        told = [int(publisher.stdout.readline())]
        time.sleep(delay)
        publisher.send_signal(signal.SIGKILL)
        told += [int(line) for line in publisher.stdout.read().split()]
    found = load(directory)
    assert found.version >= told[-1]
    assert len(found.gaussians) == 3000 + found.version
    assert publish(directory, some_map(3)).version == found.version + 1


def some_segments() -> dict[str, Segments]:
    labels = torch.full((6, 8), -1, dtype=torch.int32)
    labels[1:3] = 0
    labels[4:, 2:] = 300
    features = torch.nn.functional.normalize(torch.randn(301, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    return {name: Segments(labels=labels, features=features, quality=torch.full((301,), 0.5)) for name in LEVELS}


def test_segments_come_back_as_they_were(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, identity="a")
    assert store.load(3) is None
    store.save(3, some_segments())
    found = SegmentStore(tmp_path, identity="a").load(3)
    assert found is not None
    for name, segments in some_segments().items():
        assert torch.equal(found[name].labels, segments.labels)
        assert found[name].labels.dtype == torch.int32
        assert torch.equal(found[name].features, segments.features)
        assert torch.equal(found[name].quality, segments.quality)


def test_segments_of_other_options_are_not_found(tmp_path: Path) -> None:
    SegmentStore(tmp_path, identity="a").save(0, some_segments())
    other = SegmentStore(tmp_path, identity="b")
    assert other.load(0) is None
    other.save(0, some_segments())
    assert SegmentStore(tmp_path, identity="a").load(0) is not None


def test_segments_that_were_damaged_count_as_absent(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, identity="a")
    for path_name in ("000000.sp.png", "000000.wp.safetensors"):
        for content in (b"", b"garbage", None):
            store.save(0, some_segments())
            path = next(tmp_path.glob(f"*/{path_name}"))
            path.unlink() if content is None else path.write_bytes(content)
            assert store.load(0) is None


def test_a_distilled_field_is_kept_with_the_map(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    field = SemanticField(
        features={name: torch.randn(50, 8, generator=generator) for name in LEVELS},
        decoders={name: {"0.weight": torch.randn(4, 8, generator=generator)} for name in LEVELS},
    )
    directory = MapDirectory.create(tmp_path / "map")
    publish(directory, some_map())
    publish(directory, replace(some_map(), field=field))
    assert load(directory, 1).field is None
    loaded = load(directory).field
    assert loaded is not None
    for name in LEVELS:
        assert torch.equal(loaded.features[name], field.features[name])
        assert loaded.decoders[name].keys() == {"0.weight"}
        assert torch.equal(loaded.decoders[name]["0.weight"], field.decoders[name]["0.weight"])
