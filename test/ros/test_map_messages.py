# SPDX-License-Identifier: Apache-2.0
"""The map and the state of a node as messages."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

import torch
from ccl_lgs_ros.msg import MapStatus
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.ros import map_clouds
from ccl_lgs_ros.ros.clouds import columns_of
from ccl_lgs_ros.ros.diagnostics import diagnostics_of
from ccl_lgs_ros.ros.map_clouds import Look, gaussian_cloud, semantic_cloud, semantic_gaussians
from ccl_lgs_ros.ros.trail import FRUSTUM_DEPTH, MAX_FRUSTA, frusta
from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap

HEADER = Header(frame_id="map")
COUNT = 50


@pytest.fixture
def semantic_map() -> SemanticMap:
    generator = torch.Generator().manual_seed(0)
    gaussians = Gaussians(
        means=torch.randn(COUNT, 3, generator=generator),
        quats=3.0 * torch.randn(COUNT, 4, generator=generator),
        log_scales=torch.randn(COUNT, 3, generator=generator) - 3.0,
        logit_opacities=torch.linspace(-5.0, 5.0, COUNT),
        sh=torch.randn(COUNT, 1, 3, generator=generator),
    )
    level = SemanticLevel(
        track_of_gaussian=(torch.arange(COUNT, dtype=torch.int32) % 4) - 1,
        confidence=torch.full((COUNT,), 200, dtype=torch.uint8),
        entry_of_track=torch.tensor([5, 0, 2]),
        codebook=Codebook(entries=torch.eye(6), weight=torch.ones(6)),
    )
    return SemanticMap(gaussians=gaussians, levels={"wp": level}, encoder="builtin/1", version=3, map_id="m")


def test_all_gaussians_arrive_in_chunks_with_their_language(
    semantic_map: SemanticMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_clouds, "CHUNK", 20)
    chunks = list(semantic_gaussians(semantic_map, HEADER))
    assert [(c.chunk_index, c.chunk_count, c.total_count, c.map_version) for c in chunks] == [
        (i, 3, COUNT, 3) for i in range(3)
    ]
    columns = [columns_of(chunk.cloud) for chunk in chunks]
    joined = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    gaussians = semantic_map.gaussians
    assert joined["id"].tolist() == list(range(COUNT))
    assert np.allclose(np.stack([joined[a] for a in "xyz"], axis=1), gaussians.means)
    assert np.allclose(joined["scale_y"], gaussians.scales[:, 1])
    rotation = np.stack([joined[f"rot_{a}"] for a in "wxyz"], axis=1)
    assert np.allclose(np.linalg.norm(rotation, axis=1), 1.0, atol=1e-6)
    assert np.allclose(rotation * gaussians.quats.norm(dim=1, keepdim=True).numpy(), gaussians.quats, atol=1e-5)
    track = joined["track_wp"]
    assert track.tolist() == [i % 4 - 1 for i in range(COUNT)]
    assert joined["entry_wp"].tolist() == [{-1: -1, 0: 5, 1: 0, 2: 2}[t] for t in track.tolist()]
    assert np.array(chunks[0].codebooks).reshape(6, 6).tolist() == np.eye(6).tolist()
    assert not chunks[1].codebooks


def test_codebooks_come_in_parts_that_join_and_may_need_more_chunks_than_the_gaussians(
    semantic_map: SemanticMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_clouds, "BOOK_CHUNK", 10)
    chunks = list(semantic_gaussians(semantic_map, HEADER))
    assert [len(chunk.codebooks) for chunk in chunks] == [10, 10, 10, 6]
    assert [chunk.cloud.width for chunk in chunks] == [COUNT, 0, 0, 0]
    assert {chunk.chunk_count for chunk in chunks} == {4}
    assert np.concatenate([chunk.codebooks for chunk in chunks]).reshape(6, 6).tolist() == np.eye(6).tolist()


def test_a_map_without_gaussians_is_one_empty_chunk() -> None:
    empty = SemanticMap(gaussians=Gaussians.empty(), levels={}, encoder="builtin/1")
    (only,) = semantic_gaussians(empty, HEADER)
    assert (only.total_count, only.chunk_count, only.cloud.width) == (0, 1, 0)
    assert gaussian_cloud(empty, HEADER, Look(max_points=10)).width == 0
    assert semantic_cloud(empty, HEADER, Look(max_points=10)).width == 0


def test_a_viewer_gets_no_more_points_than_it_takes_and_none_that_is_transparent(semantic_map: SemanticMap) -> None:
    everything = columns_of(gaussian_cloud(semantic_map, HEADER, Look(max_points=1000)))
    assert len(everything["x"]) == int((semantic_map.gaussians.opacities >= 0.1).sum())
    few = columns_of(gaussian_cloud(semantic_map, HEADER, Look(max_points=7)))
    assert len(few["x"]) == 7 and set(few["x"].tolist()) <= set(everything["x"].tolist())
    colours = columns_of(semantic_cloud(semantic_map, HEADER, Look(max_points=7)))
    assert colours["x"].tolist() == few["x"].tolist()


def test_diagnostics_say_in_a_sentence_what_is_wrong() -> None:
    calm = MapStatus(state=MapStatus.STATE_COLLECTING, frames_received=100, frames_dropped_tf=3, psnr=float("nan"))
    report = diagnostics_of(calm, "/robot/keyframe_node").status[0]
    assert (report.level, report.name) == (DiagnosticStatus.OK, "robot/keyframe_node: map")
    assert "collecting" in report.message
    values = {value.key: value.value for value in report.values}
    assert values["frames_dropped_tf"] == "3" and "psnr" not in values and values["keyframes"] == "0"
    calm.frames_dropped_tf = 40
    warned = diagnostics_of(calm, "n").status[0]
    assert warned.level == DiagnosticStatus.WARN and "40 of 100" in warned.message and "tf" in warned.message
    broken = MapStatus(state=MapStatus.STATE_ERROR, message="the disk is full")
    error = diagnostics_of(broken, "n").status[0]
    assert error.level == DiagnosticStatus.ERROR and "the disk is full" in error.message


def test_a_camera_is_drawn_where_it_stood_and_looked() -> None:
    camera = Camera(width=40, height=20, fx=20.0, fy=20.0, cx=20.0, cy=10.0)
    pose = np.eye(4)
    pose[:3, 3] = (1.0, 2.0, 3.0)
    clear, lines = frusta([(pose, camera)], HEADER).markers
    assert clear.action == Marker.DELETEALL and lines.type == Marker.LINE_LIST
    points = np.array([(p.x, p.y, p.z) for p in lines.points]) - pose[:3, 3]
    assert len(points) == 16
    assert {tuple(p) for p in np.round(points / FRUSTUM_DEPTH, 6).tolist()} == {
        (0, 0, 0), (-1, -0.5, 1), (1, -0.5, 1), (1, 0.5, 1), (-1, 0.5, 1)
    }  # fmt: skip


def test_a_long_path_is_drawn_with_a_bounded_number_of_cameras() -> None:
    camera = Camera(width=40, height=20, fx=20.0, fy=20.0, cx=20.0, cy=10.0)
    lines = frusta([(np.eye(4), camera)] * (3 * MAX_FRUSTA), HEADER).markers[1]
    assert len(lines.points) == 16 * MAX_FRUSTA
    assert not frusta([], HEADER).markers[1].points
