# SPDX-License-Identifier: Apache-2.0
"""The action `build_map`: one goal at a time, handed to the worker, followed, and cancelled when asked to."""

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node
from rclpy.task import Future

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.ros.build_messages import build_of, feedback_of, result_of
from ccl_lgs_ros.ros.guards import log_error, sentence
from ccl_lgs_ros.ros.supervisor import Supervisor
from ccl_lgs_ros.ros.worker_messages import Finished, Report


class BuildAction:
    """Serves `build_map`; `follow` must be called often.

    Args:
        node: whose action it is.
        supervisor: of the worker; None while the node is not active.
        lack: says why there is none.
    """

    def __init__(self, node: Node, supervisor: Callable[[], Supervisor | None], lack: Callable[[], str]) -> None:
        self._logger, self._supervisor, self._lack = node.get_logger(), supervisor, lack
        self._goal: Any = None  # handle of the goal being worked on
        self._job = 0
        self._progress = 0.0
        self._is_cancel_sent = False
        self._told: Report | None = None  # the newest report that became feedback
        self._server = ActionServer(
            node,
            BuildMap,
            "build_map",
            execute_callback=self._build,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    @property
    def is_busy(self) -> bool:
        """Whether a goal is being worked on."""
        return self._goal is not None

    def follow(self) -> None:
        """Pass on a request to cancel, and what the worker says of the goal's job."""
        handle, supervisor = self._goal, self._supervisor()
        if supervisor is None or not hasattr(handle, "publish_feedback"):
            return
        if handle.is_cancel_requested and not self._is_cancel_sent:
            self._is_cancel_sent = True
            supervisor.cancel(self._job)
        report = supervisor.report
        if report is self._told or report.job != self._job or not report.stage:
            return
        self._told = report
        feedback = feedback_of(report, self._progress)
        self._progress = feedback.progress
        handle.publish_feedback(feedback)

    def _on_goal(self, goal: BuildMap.Goal) -> GoalResponse:
        if self.is_busy:
            self._logger.warning("a goal is refused: the map is being built for another; cancel that first")
            return GoalResponse.REJECT
        if self._supervisor() is None:
            self._logger.warning(f"a goal is refused: {self._lack()}")
            return GoalResponse.REJECT
        self._goal = goal  # so that a second one is refused until this is executed
        return GoalResponse.ACCEPT

    async def _build(self, handle: Any) -> BuildMap.Result:
        self._goal, self._progress, self._is_cancel_sent = handle, 0.0, False
        ended: Future = Future()
        try:
            supervisor = self._supervisor()
            if supervisor is None:
                raise MapError(self._lack())
            self._job = supervisor.ask(build_of(handle.request), ended.set_result)
            return _closed(handle, await ended)
        except Exception as error:
            log_error(self._logger, "build_map", error)
            handle.abort()
            return BuildMap.Result(error_code=BuildMap.Result.INTERNAL, message=sentence(error))
        finally:
            self._goal = None


def _closed(handle: Any, finished: Finished) -> BuildMap.Result:
    """The result of a goal that has ended as the job did."""
    end = {"OK": handle.succeed, "CANCELED": handle.canceled}.get(finished.error_code, handle.abort)
    if finished.error_code == "CANCELED" and not handle.is_cancel_requested:
        end = handle.abort
    end()
    return result_of(finished)
