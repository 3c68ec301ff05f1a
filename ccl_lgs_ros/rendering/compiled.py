# SPDX-License-Identifier: Apache-2.0
"""How kernels are compiled: without the interpreter lock, division as the processor does it, kept on disk."""

import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.extending

logger = logging.getLogger(__name__)

# Called by kernels; joins the kernel's code.
inner: Any = numba.njit(error_model="numpy")
intrinsic: Any = numba.extending.intrinsic


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that is called from Python; where threads share it, with a counter of tickets first."""
    try:
        compiled: Any = numba.njit(error_model="numpy", nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no folder that it may write to
        logger.warning("compiled kernels cannot be kept; set NUMBA_CACHE_DIR to a folder that can be written")
        return numba.njit(error_model="numpy", nogil=True)(function)
    # numba compiles anew when the kernel's own file changes; its inner functions come from the others, too.
    kept = getattr(compiled._cache, "_cache_file", None)
    if kept is not None:
        kept._source_stamp = (kept._source_stamp, _source_digest())
    return compiled


def _source_digest() -> str:
    """What the files of this folder that hold no torch, and so kernels' code, say, as a short text."""
    texts = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    sources = [text for text in texts if not re.search(rb"^(import|from) torch", text, re.MULTILINE)]
    return hashlib.sha256(b"".join(sources)).hexdigest()
