# SPDX-License-Identifier: Apache-2.0
"""The query node under more than it can do: whoever asks is answered, or told BUSY, in time."""

import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.srv import EncodeText, GetMapInfo, RenderView, SemanticQuery
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros.harness import BEST_EFFORT, DISCOVERY, LATCHED
from ros.injected import inject
from ros.small_map import map_at, small_map, start_with_map
from sensor_msgs.msg import Image

CODES = SemanticQuery.Response
IN_TIME = 5.0  # seconds, as promised
AT_ONCE = 50
CALLERS = 5
DRAWS = 6.0  # seconds that a picture takes
SLOW_ENCODER = """
import time
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
BuiltinEncoder.__init__ = lambda self: time.sleep(60)
"""
SLOW_PICTURES = f"""
import time
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
draw = NumbaRasterizer.render
def slowly(self, gaussians, *arguments):
    time.sleep({DRAWS} if len(gaussians) > 1 else 0)
    return draw(self, gaussians, *arguments)
NumbaRasterizer.render = slowly
"""
SLOW_GRIDS = """
import time
from ccl_lgs_ros.ros import survey
survey.surroundings = lambda *_: time.sleep(60)
"""
DEEP = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture(scope="module")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return map_at(tmp_path_factory.mktemp("load") / "map", small_map()).path


def ask_at_once(client, count: int, **fields) -> tuple[list, list[float]]:
    """The responses to so many requests that are sent together, and the seconds that each took."""
    # A client of the usual depth of ten can miss its own answers when many come for others.
    callers = [client.node.create_client(SemanticQuery, "semantic_query", qos_profile=DEEP) for _ in range(CALLERS)]
    client.until(lambda: all(c.service_is_ready() for c in callers), 2 * DISCOVERY, "the service")
    began, took = time.monotonic(), {}
    requests = [SemanticQuery.Request(prompt="red", **fields) for _ in range(count)]
    futures = [callers[place % CALLERS].call_async(request) for place, request in enumerate(requests)]
    for place, future in enumerate(futures):
        future.add_done_callback(lambda _, place=place: took.setdefault(place, time.monotonic() - began))
    client.until(lambda: len(took) == count, 60, "an answer to each")
    return [future.result() for future in futures], [took[place] for place in range(count)]


def test_fifty_questions_at_once_are_all_answered(client, start, map_path: Path, record_property) -> None:
    start_with_map(start, map_path=map_path)
    client.call(SemanticQuery, "semantic_query", prompt="red")
    responses, seconds = ask_at_once(client, AT_ONCE)
    assert max(seconds) < IN_TIME
    answered = [r for r in responses if r.success]
    assert all(r.success or r.error_code == CODES.BUSY for r in responses)
    assert all(len(r.instances) == 1 for r in answered)
    record_property("figure", f"{len(answered)} of {AT_ONCE} answered, the last after {max(seconds):.1f} s")
    assert answered


def test_while_a_model_is_loaded_everyone_is_told_so_in_time(client, start, tmp_path: Path, monkeypatch) -> None:
    inject(monkeypatch, tmp_path / "site", SLOW_ENCODER, module="query_node")
    start_with_map(start, map_path=map_at(tmp_path / "map", small_map()).path, max_queue=5)
    responses, seconds = ask_at_once(client, 20)
    assert max(seconds) < IN_TIME
    assert all(r.error_code == CODES.BUSY and "busy" in r.message for r in responses)
    waited, refused = (sum(text in r.message for r in responses) for text in ("being loaded", "wait already"))
    assert waited >= 5 and refused > 0 and waited + refused == 20, "what does not fit the queue is told at once"
    assert client.call(GetMapInfo, "get_map_info").success, "what needs no model is answered meanwhile"
    assert client.call(EncodeText, "encode_text", prompts=["red"]).success is False


def test_while_a_grid_is_made_questions_are_answered_without_poses_to_drive_to(
    client, start, map_path: Path, tmp_path: Path, monkeypatch
) -> None:
    inject(monkeypatch, tmp_path / "site", SLOW_GRIDS, module="query_node")
    start_with_map(start, map_path=map_path)
    responses, seconds = ask_at_once(client, 10)
    assert max(seconds) < IN_TIME and all(len(r.instances) == 1 for r in responses)
    assert all("no pose: the grid of this map is being made" in r.message for r in responses)
    (response,), _ = ask_at_once(client, 1, max_approaches=0)
    assert response.success and "grid" not in response.message


def test_questions_are_answered_while_pictures_are_drawn(client, start, map_path, tmp_path: Path, monkeypatch) -> None:
    inject(monkeypatch, tmp_path / "site", SLOW_PICTURES, module="query_node")
    start_with_map(start, map_path=map_path, rendering__rasterizer="numba_cpu")
    client.call(SemanticQuery, "semantic_query", prompt="red")
    for topic in ("preview", "query/mask"):
        client.collect(Image, topic, LATCHED if topic == "query/mask" else BEST_EFFORT)
    drawer = client.node.create_client(RenderView, "render_view")
    client.until(drawer.service_is_ready, 2 * DISCOVERY, "the service")
    picture, began = drawer.call_async(RenderView.Request()), time.monotonic()
    while time.monotonic() - began < DRAWS / 2:
        responses, seconds = ask_at_once(client, 10)
        assert max(seconds) < IN_TIME and all(r.success for r in responses)
    assert not picture.done()
    client.until(picture.done, 90, "the picture")
    assert picture.result().success and time.monotonic() - began >= DRAWS
