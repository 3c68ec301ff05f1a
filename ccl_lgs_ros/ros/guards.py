# SPDX-License-Identifier: Apache-2.0
"""Keeps a node alive: whatever a callback raises becomes one log line, and a failed response where one is owed."""

import time
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from ccl_lgs_ros.errors import CclLgsError

REPEAT = 10.0  # seconds before a callback that fails again is logged again
MAX_TEXT = 2000  # characters of a line of log or of a response


def shortened(text: str) -> str:
    """The beginning of a text that may hold what others sent, of whatever length."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def sentence(error: BaseException) -> str:
    """An error as one line for a person; the type stands before it where it is none of ours."""
    text = shortened(" ".join(str(error).split()))
    if isinstance(error, CclLgsError):
        return text
    return f"internal error: {type(error).__name__}: {text}" if text else f"internal error: {type(error).__name__}"


def guarded(logger: Any, what: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    """A callback that logs instead of raising; the executor would end the node's spinning otherwise.

    What fails again and again is logged once in a while, with how often.
    """
    quiet_until, num_untold = 0.0, 0

    @wraps(callback)
    def safe(*arguments: Any) -> Any:
        nonlocal quiet_until, num_untold
        try:
            return callback(*arguments)
        except Exception as error:
            if time.monotonic() < quiet_until:
                num_untold += 1
                return None
            log_error(logger, f"{what} (and {num_untold} before it)" if num_untold else what, error)
            quiet_until, num_untold = time.monotonic() + REPEAT, 0
            return None

    return safe


def guarded_service(
    logger: Any, what: str, callback: Callable[[Any, Any], Any], error_code: Callable[[Exception], int] | None = None
) -> Callable[[Any, Any], Any]:
    """A service callback whose exceptions become a failed response.

    Args:
        logger: of the node.
        what: the service, for the log.
        callback: fills and returns the response.
        error_code: the code of an exception, for responses that have one.
    """

    @wraps(callback)
    def safe(request: Any, response: Any) -> Any:
        try:
            return callback(request, response)
        except Exception as error:
            log_error(logger, what, error)
            failed = type(response)()
            failed.success, failed.message = False, sentence(error)
            if error_code is not None:
                failed.error_code = error_code(error)
            return failed

    return safe


def log_error(logger: Any, what: str, error: Exception) -> None:
    """One line at ERROR; the way to an error that is none of ours at DEBUG."""
    logger.error(f"{what}: {sentence(error)}")
    if not isinstance(error, CclLgsError):
        logger.debug("".join(traceback.format_exception(error)))
