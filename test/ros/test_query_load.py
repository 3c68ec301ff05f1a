# SPDX-License-Identifier: Apache-2.0
"""The query node under more than it can do: whoever asks is answered, or told BUSY, in time."""

import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.srv import EncodeText, GetMapInfo, SemanticQuery
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros.harness import DISCOVERY
from ros.small_map import map_at, small_map

from ccl_lgs_ros.structures import SemanticMap

CODES = SemanticQuery.Response
IN_TIME = 5.0  # seconds, as promised
AT_ONCE = 50
CALLERS = 5
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
    start("query_node", map_path=map_path)
    client.call(SemanticQuery, "semantic_query", prompt="red")
    responses, seconds = ask_at_once(client, AT_ONCE)
    assert max(seconds) < IN_TIME
    answered = [r for r in responses if r.success]
    assert all(r.success or r.error_code == CODES.BUSY for r in responses)
    assert all(len(r.instances) == 1 for r in answered)
    record_property("figure", f"{len(answered)} of {AT_ONCE} answered, the last after {max(seconds):.1f} s")
    assert answered


def test_while_a_model_is_loaded_everyone_is_told_so_in_time(client, start, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(slow_models(tmp_path)))
    start("query_node", map_path=map_at(tmp_path / "map", small_map()).path, max_queue=15)
    responses, seconds = ask_at_once(client, 20)
    assert max(seconds) < IN_TIME
    assert all(r.error_code == CODES.BUSY and "busy" in r.message for r in responses)
    assert sum("being loaded" in r.message for r in responses) == 15
    assert sum("wait already" in r.message for r in responses) == 5, "what does not fit the queue is told at once"
    assert client.call(GetMapInfo, "get_map_info").success, "what needs no model is answered meanwhile"
    assert client.call(EncodeText, "encode_text", prompts=["red"]).success is False


def slow_models(folder: Path) -> Path:
    """A folder for PYTHONPATH that makes every encoder take a minute to load."""
    code = folder / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(
        "import sys, time, threading\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ccl_lgs_ros.perception.builtin_encoder':\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    return code


def test_a_map_of_one_level_has_no_other(client, start, tmp_path: Path) -> None:
    both = small_map()
    one = SemanticMap(gaussians=both.gaussians, levels={"wp": both.levels["wp"]}, encoder=both.encoder)
    start("query_node", map_path=map_at(tmp_path / "map", one).path)
    assert client.call(SemanticQuery, "semantic_query", prompt="red", level="whole").success
    refused = client.call(SemanticQuery, "semantic_query", prompt="red", level="part")
    assert refused.error_code == CODES.BAD_REQUEST and "no level 'sp'" in refused.message
