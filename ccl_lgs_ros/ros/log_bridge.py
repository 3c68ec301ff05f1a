# SPDX-License-Identifier: Apache-2.0
"""What the core logs, through the node's logger, so that it reaches the console and /rosout."""

import logging
from collections.abc import Callable
from typing import Any

CORE = "ccl_lgs_ros"  # the logger above all of ours


class RosHandler(logging.Handler):
    """Hands log records to a node's logger.

    rclpy remembers one severity per line of code that logs, so each severity has its own line here.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._log: dict[int, Callable[[str], Any]] = {
            logging.DEBUG: lambda text: logger.debug(text),
            logging.INFO: lambda text: logger.info(text),
            logging.WARNING: lambda text: logger.warning(text),
            logging.ERROR: lambda text: logger.error(text),
            logging.CRITICAL: lambda text: logger.fatal(text),
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        try:
            self.log(record.levelno, text_of(record))
        except Exception:
            self.handleError(record)

    def log(self, level: int, text: str) -> None:
        """Log a text at a level of Python's logging."""
        known = max((x for x in self._log if x <= level), default=logging.DEBUG)
        self._log[known](text)


def text_of(record: logging.LogRecord) -> str:
    """A record in one line: the part of the package it comes from, its message, and its exception if there is one."""
    part = record.name.removeprefix(f"{CORE}.")
    error = record.exc_info[1] if record.exc_info else None
    return f"{part}: {record.getMessage()}" + (f" ({type(error).__name__}: {error})" if error else "")


def bridge_logging(logger: Any) -> RosHandler:
    """Send what our loggers say to a node's logger from now on; returns the handler to remove in the end."""
    handler = RosHandler(logger)
    core = logging.getLogger(CORE)
    core.addHandler(handler)
    core.propagate = False
    core.setLevel(logging.getLevelName("DEBUG") if _is_debug(logger) else logging.INFO)
    return handler


def unbridge_logging(handler: RosHandler) -> None:
    """Undo `bridge_logging`."""
    core = logging.getLogger(CORE)
    core.removeHandler(handler)
    core.propagate = True


def _is_debug(logger: Any) -> bool:
    return int(logger.get_effective_level()) <= logging.DEBUG
