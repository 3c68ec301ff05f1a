# SPDX-License-Identifier: Apache-2.0
"""A field of a group of options, with what people and programs must know of it."""

import dataclasses
from typing import Any


def option(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A field with its description, inclusive range and choices."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})
