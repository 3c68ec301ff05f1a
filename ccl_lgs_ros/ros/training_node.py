# SPDX-License-Identifier: Apache-2.0
"""Builds the map from stored keyframes. ROS runs in this process, the method in a worker process. Never loads torch.

Serves the action `build_map` and the services `~/save_map`, `~/load_map` and `~/reset`; publishes `status`.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from std_srvs.srv import Trigger

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.build_messages import build_of, feedback_of, result_of
from ccl_lgs_ros.ros.guards import guarded, log_error, sentence
from ccl_lgs_ros.ros.lifecycle import AutostartNode
from ccl_lgs_ros.ros.log_bridge import RosHandler
from ccl_lgs_ros.ros.parameters import declare_options, warn_of_unknown
from ccl_lgs_ros.ros.spinning import every, run_node
from ccl_lgs_ros.ros.status import StatusPublisher
from ccl_lgs_ros.ros.supervisor import Supervisor
from ccl_lgs_ros.ros.training_options import TrainingNodeOptions
from ccl_lgs_ros.ros.worker_messages import Finished, Report, Reset, Save, Settings
from ccl_lgs_ros.srv import LoadMap, SaveMap
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

TICK = 0.1  # seconds
STOP_TIMEOUT = 3.5  # seconds that the worker may take to publish what it has on the way out
STATES = {
    "starting": MapStatus.STATE_UNCONFIGURED,
    "waiting": MapStatus.STATE_WAITING_FOR_DATA,
    "collecting": MapStatus.STATE_COLLECTING,
    "training": MapStatus.STATE_TRAINING,
    "ready": MapStatus.STATE_READY,
    "error": MapStatus.STATE_ERROR,
}


class TrainingNode(AutostartNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("training_node")
        self.options = declare_options(self, TrainingNodeOptions())
        self.config = declare_options(self, MapConfig())
        warn_of_unknown(self, self._parameters)
        self.map_path = self.options.map_path
        self.train = self.options.train
        self.supervisor: Supervisor | None = None
        self._goal: Any = None  # handle of the goal being worked on
        self._goal_job = 0
        self._progress = 0.0
        self._is_cancel_sent = False
        self._told: Report | None = None  # the newest report that became feedback
        self._log = RosHandler(self.get_logger())
        self._status = StatusPublisher(self)
        logger = self.get_logger()
        every(self, TICK, guarded(logger, "tick", self._tick))
        waiting = MutuallyExclusiveCallbackGroup()  # one that waits holds up no timer
        for kind, name, work in (
            (SaveMap, "save_map", self._save_map),
            (LoadMap, "load_map", self._load_map),
            (Trigger, "reset", self._reset),
        ):
            self.create_service(kind, f"~/{name}", self._service(name, work), callback_group=waiting)
        self._action = ActionServer(
            self,
            BuildMap,
            "build_map",
            execute_callback=self._build_map,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self.start(self.options.autostart)

    def activate(self) -> None:
        """Start the worker."""
        MapDirectory.open_or_create(self.map_path)
        self.supervisor = Supervisor(self._settings(), self._log.log)

    def deactivate(self) -> None:
        """End the worker; what it has is published first."""
        if self.supervisor is None:
            return
        if not self.supervisor.stop(STOP_TIMEOUT):
            self.get_logger().warning("the worker did not end in time; what it had published before is safe")
        self.supervisor = None

    def _settings(self) -> Settings:
        o = self.options
        return Settings(
            options={name: value for name, _, value in options(self.config)},
            map_path=os.path.expanduser(self.map_path),
            train=self.train,
            snapshot_period=o.snapshot_period,
            refine_idle=o.refine_idle,
            refine_every=o.refine_every,
            min_keyframes=o.min_keyframes,
            niceness=o.niceness,
            log_level=min(logging.getLogger("ccl_lgs_ros").level, logging.INFO),
        )

    def _tick(self) -> None:
        if self.supervisor is not None:
            self.supervisor.tick()
        report = self.supervisor.report if self.supervisor else None
        if self._goal is not None:
            self._follow_goal(report)
        self._publish_status(report)

    def _publish_status(self, report: Report | None) -> None:
        if report is None:
            state = MapStatus.STATE_ERROR if self.error else MapStatus.STATE_UNCONFIGURED
            self._status.publish(self.config.frames.map_frame, state=state, message=self.error, map_path=self.map_path)
            return
        self._status.publish(
            self.config.frames.map_frame,
            state=STATES[report.state],
            stage=report.stage,
            message=report.message,
            map_id=report.map_id,
            map_version=report.map_version,
            map_path=os.path.expanduser(self.map_path),
            keyframes=report.num_stored,
            keyframes_pending=max(report.num_stored - report.num_keyframes, 0),
            num_gaussians=report.num_gaussians,
            iteration=report.done,
            iterations_total=report.total,
            progress=report.done / report.total if report.total else 0.0,
            loss=report.loss,
            psnr=report.psnr,
            codebook_size=report.codebook_size,
            memory=report.memory,
        )

    def _on_goal(self, goal: BuildMap.Goal) -> GoalResponse:
        if self._goal is not None:
            self.get_logger().warning("a goal is refused: the map is being built for another; cancel that first")
            return GoalResponse.REJECT
        if self.supervisor is None:
            self.get_logger().warning(f"a goal is refused: the node is not active; {self.error or 'activate it'}")
            return GoalResponse.REJECT
        self._goal = goal  # so that a second one is refused until this is executed
        return GoalResponse.ACCEPT

    async def _build_map(self, handle: Any) -> BuildMap.Result:
        self._goal, self._progress, self._is_cancel_sent = handle, 0.0, False
        ended: Future = Future()
        try:
            if self.supervisor is None:
                raise MapError("the node is not active; activate it")
            self._goal_job = self.supervisor.ask(
                build_of(handle.request),
                ended.set_result,
            )
            return self._result(handle, await ended)
        except Exception as error:
            log_error(self.get_logger(), "build_map", error)
            handle.abort()
            return BuildMap.Result(error_code=BuildMap.Result.INTERNAL, message=sentence(error))
        finally:
            self._goal = None

    def _result(self, handle: Any, finished: Finished) -> BuildMap.Result:
        end = {"OK": handle.succeed, "CANCELED": handle.canceled}.get(finished.error_code, handle.abort)
        if finished.error_code == "CANCELED" and not handle.is_cancel_requested:
            end = handle.abort
        end()
        return result_of(finished)

    def _follow_goal(self, report: Report | None) -> None:
        """Pass on a request to cancel, and what the worker says of the goal's job."""
        handle = self._goal
        if report is None or self.supervisor is None or not hasattr(handle, "publish_feedback"):
            return
        if handle.is_cancel_requested and not self._is_cancel_sent:
            self._is_cancel_sent = True
            self.supervisor.cancel(self._goal_job)
        if report is self._told or report.job != self._goal_job or not report.stage:
            return
        self._told = report
        feedback = feedback_of(report, self._progress)
        self._progress = feedback.progress
        handle.publish_feedback(feedback)

    def _service(self, what: str, work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """A coroutine callback whose exceptions become a failed response."""

        async def safe(request: Any, response: Any) -> Any:
            try:
                return await work(request, response)
            except Exception as error:
                log_error(self.get_logger(), what, error)
                failed = type(response)()
                failed.success, failed.message = False, sentence(error)
                return failed

        return safe

    async def _done(self, job: Save | Reset) -> Finished:
        """The end of a job; raises MapError where it failed."""
        if self.supervisor is None:
            raise MapError(self.error or "the node is not active; activate it")
        ended: Future = Future()
        self.supervisor.ask(job, ended.set_result)
        finished: Finished = await ended
        if finished.error_code != "OK":
            raise MapError(finished.message)
        return finished

    async def _save_map(self, request: SaveMap.Request, response: SaveMap.Response) -> SaveMap.Response:
        finished = await self._done(
            Save(
                job=0,
                path=request.path,
                include_keyframes=request.include_keyframes,
                export_ply=request.export_ply,
                overwrite=request.overwrite,
            )
        )
        response.success, response.message = True, finished.message
        for name, value in finished.fields.items():
            setattr(response, name, value)
        return response

    async def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        finished = await self._done(Reset(job=0))
        response.success, response.message = True, finished.message
        return response

    async def _load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        path = os.path.expanduser(os.path.expandvars(request.path))
        directory = MapDirectory.open(path)
        store = KeyframeStore(directory)
        if self._goal is not None:
            raise MapError("the map is being built; cancel the goal of build_map first")
        before = self.map_path, self.train
        is_active = self.supervisor is not None
        self.deactivate()
        self.map_path, self.train = path, request.resume_capture and self.options.train
        if is_active:
            self.supervisor = Supervisor(self._settings(), self._log.log)
            report = await self._first_report()
            if report.state == "error":
                self.deactivate()
                self.map_path, self.train = before
                self.activate()
                raise MapError(report.message)
            response.num_gaussians = report.num_gaussians
        response.success, response.message = True, f"the map {path} is in use"
        response.map_id, response.map_version = directory.map_id, directory.newest_version()
        response.num_keyframes = len(store)
        return response

    async def _first_report(self) -> Report:
        """What a new worker says when it has read the map, or that it could not."""
        assert self.supervisor is not None
        start = self.supervisor.report
        heard: Future = Future()

        def look() -> None:
            if self.supervisor is None or self.supervisor.report is not start:
                heard.set_result(self.supervisor.report if self.supervisor else replace(start, state="error"))

        timer = every(self, TICK, look)
        try:
            return await heard
        finally:
            self.destroy_timer(timer)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(TrainingNode, "training_node", args)


if __name__ == "__main__":
    sys.exit(main())
