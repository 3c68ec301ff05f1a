# SPDX-License-Identifier: Apache-2.0
"""How kernels are compiled: without the interpreter lock, division as the processor does it, kept on disk."""

from numba import njit

# Called by kernels; joins the kernel's code.
inner = njit(error_model="numpy")
# Called from Python, with a counter of tickets first.
kernel = njit(error_model="numpy", nogil=True, cache=True)
