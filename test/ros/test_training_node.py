# SPDX-License-Identifier: Apache-2.0
"""The training node on duty: pause, lifecycle, parameters that change, a worker that inherits nothing."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from action_msgs.msg import GoalStatus
from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.msg import MapStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros.harness import DISCOVERY, LATCHED, ROOT
from ros.wall_map import BUILD, ENDLESS, ON_DEMAND, TRAIN, wall_map
from std_srvs.srv import SetBool

from ccl_lgs_ros.ros import supervisor
from ccl_lgs_ros.ros.worker_messages import Build, Cancel, Save, Settings
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load

PAUSED, TRAINING, READY = MapStatus.STATE_PAUSED, MapStatus.STATE_TRAINING, MapStatus.STATE_READY
NICENESS = 10
QUIET = 1.5  # seconds in which something that went on would show
WAITS = ("spin_until_future_complete", "spin_once", "spin", "call")  # on a node or client they block a callback


def newest(statuses: list[MapStatus]) -> MapStatus:
    return statuses[-1] if statuses else MapStatus()


def change(client: Any, label: str) -> None:
    request = ChangeState.Request()
    request.transition.label = label
    assert client.call(ChangeState, "training_node/change_state", BUILD, transition=request.transition).success, label


def set_parameter(client: Any, name: str, value: Any) -> Any:
    parameter = Parameter(name, value=value).to_parameter_msg()
    (result,) = client.call(SetParameters, "training_node/set_parameters", parameters=[parameter]).results
    return result


def test_training_pauses_at_a_safe_point_and_goes_on(client, start, tmp_path: Path) -> None:
    path = wall_map(tmp_path / "map")
    start("training_node", map_path=path, **ON_DEMAND)
    statuses = client.collect(MapStatus, "status", LATCHED)
    feedback: list = []
    handle = client.send_goal(BuildMap, "build_map", feedback, iterations=ENDLESS)
    client.until(lambda: any(f.stage == "optimize" for f in feedback), BUILD, "the optimiser at work")
    response = client.call(SetBool, "training_node/pause_training", data=True)
    assert response.success and "paused" in response.message
    client.until(lambda: newest(statuses).state == PAUSED, DISCOVERY, "a status that says paused")
    client.spin(QUIET)
    step = feedback[-1].iteration
    client.spin(QUIET)
    assert feedback[-1].iteration == step and newest(statuses).stage == "optimize"
    assert client.call(SetBool, "training_node/pause_training", data=False).success
    client.until(lambda: feedback[-1].iteration > step, DISCOVERY, "a step after the pause")
    assert client.call(SetBool, "training_node/pause_training", data=True).success
    client.until(lambda: newest(statuses).state == PAUSED, DISCOVERY, "paused again")
    handle.cancel_goal_async()
    done = client.result(handle, BUILD)
    assert done.status == GoalStatus.STATUS_CANCELED and done.result.partial
    client.until(lambda: newest(statuses).state == PAUSED and not newest(statuses).stage, DISCOVERY, "paused, idle")


def test_deactivate_publishes_and_ends_the_worker_activate_goes_on(client, start, tmp_path: Path) -> None:
    path = wall_map(tmp_path / "map", count=4)
    node = start("training_node", map_path=path, autostart=False, **{**TRAIN, "snapshot_period": 3600.0})
    statuses = client.collect(MapStatus, "status", LATCHED)
    assert client.call(GetState, "training_node/get_state").current_state.label == "unconfigured"
    handle = client.send_goal(BuildMap, "build_map")
    assert not handle.accepted
    assert client.call(SetBool, "training_node/pause_training", data=True).success
    assert client.call(SetBool, "training_node/pause_training", data=False).success
    change(client, "configure")
    change(client, "activate")
    client.until(lambda: newest(statuses).num_gaussians > 0 or newest(statuses).map_version, BUILD, "the map to grow")
    handle = client.send_goal(BuildMap, "build_map", iterations=ENDLESS)
    client.until(lambda: newest(statuses).stage == "optimize", BUILD, "the optimiser at work")
    change(client, "deactivate")
    done = client.result(handle, DISCOVERY)
    assert done.status == GoalStatus.STATUS_ABORTED and done.result.message
    assert not node.children()
    published = load(MapDirectory.open(path))
    assert published.info["keyframes"] == 4
    change(client, "activate")
    built = client.result(client.send_goal(BuildMap, "build_map", iterations=2), BUILD).result
    assert built.success and built.map_version > published.version, built.message
    change(client, "deactivate")
    change(client, "cleanup")
    change(client, "shutdown")
    assert node.interrupt() == 0


def test_periods_change_while_the_node_runs_and_are_checked(client, start, tmp_path: Path) -> None:
    path = wall_map(tmp_path / "map", count=4)
    start("training_node", map_path=path, **ON_DEMAND)
    statuses = client.collect(MapStatus, "status", LATCHED)
    client.until(lambda: newest(statuses).state == MapStatus.STATE_WAITING_FOR_DATA, BUILD, "a worker that waits")
    refused = set_parameter(client, "snapshot_period", 0.0)
    assert not refused.successful and "0.5" in refused.reason
    refused = set_parameter(client, "gaussians.image_width", 64)
    assert not refused.successful and refused.reason
    assert set_parameter(client, "min_keyframes", 9).successful
    done = client.result(client.send_goal(BuildMap, "build_map"), BUILD)
    assert done.result.error_code == BuildMap.Result.NOT_ENOUGH_KEYFRAMES and "9 are needed" in done.result.message
    assert set_parameter(client, "min_keyframes", 2).successful
    assert set_parameter(client, "train", True).successful
    client.until(lambda: newest(statuses).map_version == 1, BUILD, "a map that grows by itself")
    assert set_parameter(client, "refine_idle", 0.5).successful
    client.until(lambda: "optimize_seconds" in load(MapDirectory.open(path)).info, BUILD, "a refined version")


def test_row_24_the_worker_is_a_new_process_that_inherits_nothing(
    client, start, tmp_path: Path, record_property
) -> None:
    options = {**ON_DEMAND, "niceness": NICENESS}
    node = start("training_node", map_path=wall_map(tmp_path / "map", count=4), **options)
    statuses = client.collect(MapStatus, "status", LATCHED)
    client.until(lambda: newest(statuses).state == MapStatus.STATE_WAITING_FOR_DATA, BUILD, "a worker that waits")
    (worker,) = node.children()
    arguments = Path(f"/proc/{worker}/cmdline").read_bytes().split(b"\0")
    assert arguments[1:3] == [b"-m", b"ccl_lgs_ros.ros.worker_main"], "its own program, no copy of the node"
    of_node, of_worker = libraries(node.pid), libraries(worker)
    assert any("libtorch" in name for name in of_worker) and not any("libtorch" in name for name in of_node)
    assert any("librcl" in name for name in of_node) and not any("librcl" in name for name in of_worker)
    assert os.getsid(worker) == worker != os.getsid(node.pid), "Ctrl-C reaches the node alone"
    assert_stands_back(worker, node.pid)
    record_property("figure", "the node maps no library of torch, the worker none of ROS")


def assert_stands_back(worker: int, node: int) -> None:
    """Where Linux weighs sessions against each other, the worker's own must have the nice value too."""
    nice, nice_of_node = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (worker, node))
    assert nice == min(nice_of_node + NICENESS, 19)
    autogroup = Path(f"/proc/{worker}/autogroup")
    if autogroup.exists() and (told := autogroup.read_text().strip()):
        assert told.endswith(f"nice {nice}"), told


def libraries(pid: int) -> set[str]:
    """The shared libraries that a process has mapped."""
    rows = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {row.rpartition("/")[2] for row in rows if ".so" in row}


class StuckWorker:
    """A worker process that takes everything and says nothing."""

    def __init__(self, settings: Settings) -> None:
        self.is_alive, self.pid, self.said = True, 1, [settings]

    def send(self, message: Any) -> bool:
        self.said.append(message)
        return True

    def received(self) -> list[Any]:
        return []

    def kill(self) -> None:
        self.is_alive = False


def test_a_goal_that_waits_behind_another_job_is_cancelled_at_once_and_harms_it_not(monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "WorkerProcess", StuckWorker)
    monkeypatch.setattr(supervisor, "CANCEL_TIMEOUT", 0.0)
    settings = Settings(**dict.fromkeys(Settings.__dataclass_fields__))
    served, ended = supervisor.Supervisor(settings, lambda level, text: None), []
    save = served.ask(Save(job=0), ended.append)
    build = served.ask(Build(job=0), ended.append)
    first = served._worker
    served.cancel(build)
    served.tick()
    assert [(end.job, end.error_code) for end in ended] == [(build, "CANCELED")]
    assert served._worker is first and first.said[-1] == Cancel(job=build)
    served.cancel(save)
    time.sleep(0.01)
    served.tick()
    assert [(end.job, end.error_code) for end in ended[1:]] == [(save, "CANCELED")]
    assert not first.is_alive and served._worker is not first


def test_row_24_the_node_never_loads_torch_and_nothing_forks() -> None:
    code = "import sys, ccl_lgs_ros.ros.training_node; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    for path in (ROOT / "ccl_lgs_ros").rglob("*.py"):
        names = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert not names & {"fork", "set_start_method"}, path


def test_row_22_nothing_waits_inside_a_callback() -> None:
    """rclpy deadlocks where a callback spins or calls a service synchronously: neither is in the package."""
    for path in sorted((ROOT / "ccl_lgs_ros" / "ros").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            is_wait = name in WAITS or (name == "result" and not node.args and "future" in ast.unparse(node.func))
            assert not is_wait or path.name == "spinning.py", f"{path.name}:{node.lineno} waits in {name}"
