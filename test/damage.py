# SPDX-License-Identifier: Apache-2.0
"""Files as worn disks, cut copies and enemies make them, for property tests."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = json.loads("[" * 500 + "]" * 500)
ODD_VALUES = [
    *(None, True, 0, -1, 1, 65535, 2**31, 2**63, 2**64, 10**30, 1e308, -0.5),
    *(float("nan"), float("inf"), "", "x", "x" * 100_000, "../../secret", "/etc/passwd", "a\0b", "\ud800", "é\n"),
    *([], {}, [[]], {"": None}, [1, 2, 3], DEEP),
]


@st.composite
def damaged_json(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document of which some values are others, gone or twice there."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = _place(draw, document)
        if holder is None:
            return draw(st.sampled_from(ODD_VALUES))
        if draw(st.booleans()):
            holder[key] = draw(st.sampled_from(ODD_VALUES))
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key])) if draw(st.booleans()) else holder.pop(key)
        else:
            del holder[key]
    return document


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file that is cut short, or of which some bytes are others."""
    kind = draw(st.sampled_from(["cut", "flipped", "filled", "longer", "doubled"]))
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "cut":
        return content[:at]
    if kind == "longer":
        return content + draw(st.binary(min_size=1, max_size=50))
    if kind == "doubled":
        return content[:at] + content[: draw(st.integers(0, 200))] + content[at:]
    damaged = bytearray(content)
    if kind == "filled":
        length = draw(st.integers(1, 16))
        damaged[at : at + length] = draw(st.sampled_from([b"\x00", b"\xff", b"9"])) * len(damaged[at : at + length])
        return bytes(damaged)
    for _ in range(draw(st.integers(1, 8))):
        damaged[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)


def _place(draw: st.DrawFn, document: Any) -> tuple[Any, Any]:
    """A container inside a document and one of its keys; None where the document is no container that holds any."""
    holder, key, value = None, None, document
    while isinstance(value, dict | list) and value:
        holder = value
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value = holder[key]
        if draw(st.integers(0, 3)) == 0:
            break
    return holder, key
