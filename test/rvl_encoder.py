# SPDX-License-Identifier: Apache-2.0
"""Depth images as RVL, which this package reads and does not write."""

import struct

import numpy as np


def encode_rvl(units: np.ndarray) -> bytes:
    """RVL as Wilson describes it, number by number."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            nibbles.append((number & 7) | (8 if number > 7 else 0))
            number >>= 3
            if not number:
                return

    values, at, previous = [int(x) for x in units.ravel()], 0, 0
    while at < len(values):
        zeros = next((i for i, x in enumerate(values[at:]) if x), len(values) - at)
        at += zeros
        run = next((i for i, x in enumerate(values[at:]) if not x), len(values) - at)
        put(zeros)
        put(run)
        for value in values[at : at + run]:
            difference, previous = value - previous, value
            put(2 * difference if difference >= 0 else -2 * difference - 1)
        at += run
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << (28 - 4 * i) for i, n in enumerate(nibbles[at : at + 8])) for at in range(0, len(nibbles), 8)]
    return struct.pack("<ii", units.shape[1], units.shape[0]) + struct.pack(f"<{len(words)}I", *words)
