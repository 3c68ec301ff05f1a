# SPDX-License-Identifier: Apache-2.0
"""Records run through a capture, and what came out of it in a form to compare."""

from collections.abc import Sequence

import numpy as np
from capture_records import ListStore

from ccl_lgs_ros.capture import Capture
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.ingest.records import Record


def capture(
    records: Sequence[Record], *, poll_every: int = 1, store: ListStore | None = None, **changes: object
) -> tuple[Capture, ListStore]:
    """Everything fed, as live, without a clock."""
    store = ListStore() if store is None else store
    made = Capture(updated(MapConfig(), {name.replace("__", "."): value for name, value in changes.items()}), store)
    for i, record in enumerate(records):
        made.add(record)
        if i % poll_every == 0:
            made.poll()
    made.finish()
    return made, store


def described(store: ListStore) -> list[tuple]:
    return [
        (k.id, k.stamp_ns, k.world_from_camera.tolist(), k.sharpness, k.image.sum(), np.nansum(k.depth)) for k in store
    ]
