# SPDX-License-Identifier: Apache-2.0
"""How far a process stands back for others on the same cores."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def stand_back(niceness: int) -> None:
    """Leave the processor to others as nice(1) does, also on systems that weigh sessions against each other.

    Linux does that by default (sched_autogroup): nice values then count within a session only, and a worker with a
    session of its own would take as much as all nodes of a launch together.
    """
    os.nice(niceness)
    with suppress(OSError):  # there is none, or it is not ours to change
        AUTOGROUP.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
