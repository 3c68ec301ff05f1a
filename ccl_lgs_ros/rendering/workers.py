# SPDX-License-Identifier: Apache-2.0
"""Sharing a kernel's work: threads draw numbered tickets, so that none waits while another still has a pile.

Plain threads around kernels without the interpreter lock, rather than numba's own: OpenMP threads spin, which
stalls every call by a time slice where another process wants the core, and one of numba's thread pools must not
be entered twice at once.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types

from ccl_lgs_ros.rendering.compiled import intrinsic


@intrinsic
def take_ticket(typing: Any, counter: Any):
    """The next whole number of an int64 array [1], each given out once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


class Crew:
    """A few threads that run one kernel together; it may be called from any thread at any time."""

    def __init__(self, num_threads: int = 0) -> None:
        """`num_threads` 0 takes every core that the process may use, or NUMBA_NUM_THREADS where that is set."""
        # numba.get_num_threads would start numba's OpenMP pool, beside which torch's operations take ten times as long.
        self.num_threads = num_threads or config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
        self._pool, self._process = self._make_pool()

    def run(self, kernel: Callable[..., None], *args: Any) -> None:
        """Call kernel(counter, *args) in every thread and wait for all; the kernel takes tickets off the counter."""
        if self._process != os.getpid():  # threads stay behind in a fork
            self._pool, self._process = self._make_pool()
        counter = np.zeros(1, np.int64)
        others = [self._pool.submit(kernel, counter, *args) for _ in range(self.num_threads - 1)]
        kernel(counter, *args)
        for other in others:
            other.result()

    def _make_pool(self) -> tuple[ThreadPoolExecutor, int]:
        return ThreadPoolExecutor(max(self.num_threads - 1, 1), thread_name_prefix="rasterizer"), os.getpid()
