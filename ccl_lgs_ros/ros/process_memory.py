# SPDX-License-Identifier: Apache-2.0
"""What this process holds in memory."""

import resource

BYTES_PER_MAXRSS = 1024  # ru_maxrss counts kilobytes on Linux


def peak_memory() -> int:
    """The most bytes of memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_MAXRSS
