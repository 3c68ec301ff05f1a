# SPDX-License-Identifier: Apache-2.0
"""What became of the images that gave no keyframe: counted by reason, the first of each kept as a sentence."""

import logging
import threading
from collections import Counter

logger = logging.getLogger(__name__)

MAX_TEXT = 500  # characters; names and values of whatever length come from outside

# Reason -> whether a person should look into it; the others are the selection at work.
REASONS = {
    "format": True,  # pixels or intrinsics that cannot be read, zero stamps
    "tf": True,  # no transform in time
    "sync": True,  # no camera_info, no depth or no labels in time
    "depth": True,  # too little known depth, or depth that cannot be read
    "queue": True,  # pushed out of the full waiting queue, too late, or before a jump back in time
    "duplicate": False,  # a keyframe of this stamp exists
    "jump": True,  # the camera moved faster than it can: localisation jumped
    "motion": False,  # too near to a keyframe, in space or in time
    "blur": False,  # too blurred
    "limit": True,  # the cap on keyframes or the disk limit was reached
}


class Drops:
    """Counts by reason, and the first text of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.first: dict[str, str] = {}
        self.latest: tuple[str, str] = ("", "")
        self._guard = threading.Lock()

    def clear(self) -> None:
        """Count from zero."""
        with self._guard:
            self.counts = Counter(dict.fromkeys(REASONS, 0))
            self.first, self.latest = {}, ("", "")

    def add(self, reason: str, text: str) -> None:
        """One image, or one message, that was dropped; `text` is a sentence without its full stop."""
        text = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
        with self._guard:
            self.counts[reason] += 1
            self.latest = (reason, text)
            is_first = reason not in self.first
            self.first.setdefault(reason, text)
        if is_first:
            logger.log(
                logging.WARNING if REASONS[reason] else logging.INFO, "first image dropped (%s): %s", reason, text
            )

    def add_error(self, error: Exception) -> None:
        """One image, or one message, whose handling failed in a way that nobody foresaw."""
        logger.debug("handling a message failed", exc_info=error)
        self.add("format", f"internal error: {type(error).__name__}: {error}")

    def __str__(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self.counts.items() if count) or "none"
