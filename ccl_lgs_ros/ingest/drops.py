# SPDX-License-Identifier: Apache-2.0
"""What became of the images that gave no keyframe: counted by reason, the first of each kept as a sentence."""

import logging
from collections import Counter

logger = logging.getLogger(__name__)

# Reason -> whether a person should look into it; the others are the selection at work.
REASONS = {
    "format": True,  # pixels or intrinsics that cannot be read, zero stamps
    "tf": True,  # no transform in time
    "sync": True,  # no camera_info, no depth or no labels in time
    "depth": True,  # too little known depth, or depth that cannot be read
    "queue": True,  # pushed out of the full waiting queue, too late, or before a jump back in time
    "duplicate": False,  # a keyframe of this stamp exists
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

    def add(self, reason: str, text: str) -> None:
        """One image, or one message, that was dropped; `text` is a sentence without its full stop."""
        self.counts[reason] += 1
        self.latest = (reason, text)
        if reason not in self.first:
            self.first[reason] = text
            logger.log(
                logging.WARNING if REASONS[reason] else logging.INFO, "first image dropped (%s): %s", reason, text
            )

    def __str__(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self.counts.items() if count) or "none"
