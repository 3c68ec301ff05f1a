# SPDX-License-Identifier: Apache-2.0
"""A node's life from rclpy.init to the exit code: it ends by itself, in order, at the first signal."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.ros.log_bridge import bridge_logging, unbridge_logging

HEARTBEAT = 0.1  # seconds; a wait without end can sleep through a signal that comes just before it


class Closable(Protocol):
    """A node that saves and lets go of everything; quick, and harmless when done twice."""

    def close(self) -> None: ...


def run_node(make_node: Callable[[], Any], name: str, args: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT, SIGTERM, the end of its context, or a node that is a script is done.

    Args:
        make_node: makes the node, which has a `close`.
        name: of the node, for errors before it exists.
        args: command line; None takes the process's own.

    Returns:
        The exit code: 0, that of the script, or 2 where the node could not be made for a reason that it says.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _frame: signals.append(which))
    handler = bridge_logging(get_logger(name))
    node = None
    try:
        node = make_node()
        _spin(node, signals)
        return getattr(node, "exit_code", 0)
    except CclLgsError as error:
        get_logger(name).fatal(str(error))
        return 2
    finally:
        _end(node)
        unbridge_logging(handler)
        rclpy.try_shutdown()


def every(node: Any, seconds: float, callback: Callable[[], None]) -> Any:
    """A timer of a node that also runs while /clock stands still or has not come yet."""
    return node.create_timer(seconds, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def _spin(node: Any, signals: list[int]) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not signals and rclpy.ok() and not getattr(node, "is_done", False):
            _spin_once(executor)
    except ExternalShutdownException:
        pass
    finally:
        executor.remove_node(node)
    if signals:
        logging.getLogger(__name__).info("%s received: saving and stopping", signal.Signals(signals[0]).name)


def _spin_once(executor: Any) -> None:
    """Do what is due; guards.py keeps callbacks from raising, but not rclpy, say where a response cannot be sent."""
    try:
        executor.spin_once(timeout_sec=HEARTBEAT)
    except ExternalShutdownException:
        raise
    except Exception as error:
        logging.getLogger(__name__).error("%s: %s; the node goes on", type(error).__name__, error)
        time.sleep(HEARTBEAT)  # should it happen without end, the log stays readable


def _end(node: Any) -> None:
    if node is None:
        return
    try:
        node.close()
    finally:
        node.destroy_node()
