# SPDX-License-Identifier: Apache-2.0
"""Builds the map from stored keyframes. ROS runs in this process, the method in a worker process. Never loads torch.

Serves the action `build_map` and the services `~/save_map`, `~/load_map`, `~/reset` and `~/pause_training`; publishes
`status`.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from ccl_lgs_ros.config import MapConfig, options
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.msg import MapStatus
from ccl_lgs_ros.ros.build_action import BuildAction
from ccl_lgs_ros.ros.guards import guarded, log_error, sentence
from ccl_lgs_ros.ros.keyframe_receiver import KeyframeReceiver
from ccl_lgs_ros.ros.lifecycle import AutostartNode
from ccl_lgs_ros.ros.log_bridge import RosHandler
from ccl_lgs_ros.ros.parameters import declare_options, on_change, warn_of_unknown
from ccl_lgs_ros.ros.spinning import every, run_node
from ccl_lgs_ros.ros.status import StatusPublisher
from ccl_lgs_ros.ros.supervisor import Supervisor
from ccl_lgs_ros.ros.training_options import TrainingNodeOptions
from ccl_lgs_ros.ros.worker_messages import Finished, Report, Reset, Save, Settings
from ccl_lgs_ros.srv import LoadMap, SaveMap
from ccl_lgs_ros.storage.confined import permitted, save_root
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

CHANGEABLE = ("train", "snapshot_period", "refine_idle", "refine_every", "min_keyframes")
TICK = 0.1  # seconds
STOP_TIMEOUT = 3.5  # seconds that the worker may take to publish what it has on the way out
STATES = {
    "starting": MapStatus.STATE_UNCONFIGURED,
    "waiting": MapStatus.STATE_WAITING_FOR_DATA,
    "collecting": MapStatus.STATE_COLLECTING,
    "training": MapStatus.STATE_TRAINING,
    "paused": MapStatus.STATE_PAUSED,
    "ready": MapStatus.STATE_READY,
    "error": MapStatus.STATE_ERROR,
}


class TrainingNode(AutostartNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("training_node")
        self.options = declare_options(self, TrainingNodeOptions(), changeable=CHANGEABLE)
        self.config = declare_options(self, MapConfig())
        warn_of_unknown(self, self._parameters)
        self.map_path = self.options.map_path
        self._root = save_root(self.options.save_root, self.map_path)
        self.train = self.options.train
        self.supervisor: Supervisor | None = None
        self.receiver: KeyframeReceiver | None = None
        self._is_receiving = self.options.keyframe_transport == "topic"
        self._is_paused = False
        self._log = RosHandler(self.get_logger())
        self._status = StatusPublisher(self)
        logger = self.get_logger()
        every(self, TICK, guarded(logger, "tick", self._tick))
        waiting = MutuallyExclusiveCallbackGroup()  # one that waits holds up no timer
        for kind, name, work in (
            (SaveMap, "save_map", self._save_map),
            (LoadMap, "load_map", self._load_map),
            (Trigger, "reset", self._reset),
            (SetBool, "pause_training", self._pause),
        ):
            self.create_service(kind, f"~/{name}", self._service(name, work), callback_group=waiting)
        self._action = BuildAction(self, lambda: self.supervisor, lambda: self._lack)
        on_change(self, lambda: self.options, self._use)
        self.start(self.options.autostart)

    def activate(self) -> None:
        """Start the worker, and take over what another host sends."""
        MapDirectory.open_or_create(self.map_path)
        if self._is_receiving:
            self.receiver = KeyframeReceiver(self, self.map_path, self.config.keyframes.max_disk_gb)
        self.supervisor = Supervisor(self._settings(), self._log.log)

    def deactivate(self) -> None:
        """End the worker; what it has is published first."""
        if self.receiver is not None:
            self.receiver.close()
            self.receiver = None
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
            is_paused=self._is_paused,
        )

    def _use(self, changed: TrainingNodeOptions) -> None:
        """Parameters were set while the node runs."""
        if changed.train != self.options.train:
            self.train = changed.train
        self.options = changed
        self._tell_settings()

    def _tell_settings(self) -> None:
        if self.supervisor is not None:
            self.supervisor.change(self._settings())

    @property
    def _lack(self) -> str:
        """Why there is no worker."""
        return f"the node is not active; {self.error or 'activate it'}"

    def _tick(self) -> None:
        if self.supervisor is not None:
            self.supervisor.tick()
        report = self.supervisor.report if self.supervisor else None
        self._action.follow()
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
            message=report.message or (self.receiver.trouble if self.receiver else ""),
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
            raise MapError(self._lack)
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
                path=str(permitted(request.path, self._root)) if request.path else "",
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

    async def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._is_paused = request.data
        self._tell_settings()
        response.success = True
        response.message = "training is paused" if request.data else "training goes on"
        return response

    async def _load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        path = str(permitted(request.path, self._root))
        directory = MapDirectory.open(path)
        store = KeyframeStore(directory)
        if self._action.is_busy:
            raise MapError("the map is being built; cancel the goal of build_map first")
        before = self.map_path, self.train, self._is_receiving
        is_active = self.supervisor is not None
        self.deactivate()
        self.map_path, self.train = path, request.resume_capture and self.options.train
        self._is_receiving = request.resume_capture and self.options.keyframe_transport == "topic"
        if is_active:
            self.activate()
            report = await self._first_report()
            if report.state == "error":
                self.deactivate()
                self.map_path, self.train, self._is_receiving = before
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
