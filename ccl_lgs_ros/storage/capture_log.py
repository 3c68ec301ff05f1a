# SPDX-License-Identifier: Apache-2.0
"""What became of the images that a map was made from, kept beside its keyframes. No torch.

keyframes/captures.json holds one record per capture: a recording that was read, or a run of the node that listens.
Losing it loses no map.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.confined import own_file
from ccl_lgs_ros.storage.durable import disk_errors, replace_file
from ccl_lgs_ros.storage.map_directory import MapDirectory

logger = logging.getLogger(__name__)

NAME = "captures.json"
KEPT_CAPTURES = 50  # the newest
MAX_BYTES = 1 << 20  # of the file
REASON = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRecord:
    """What one capture did with its images."""

    source: str  # a recording's name, or what was listened to
    images: int  # that came
    kept: int  # as keyframes
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    first: Mapping[str, str] = field(default_factory=dict)  # a sentence on the first of each reason
    notes: tuple[str, ...] = ()  # what was found out about the recording


class CaptureLog:
    """The captures of a map, to which the one that goes on now is added; the caller holds the keyframes' lock."""

    def __init__(self, directory: MapDirectory) -> None:
        self._path = directory.keyframes_path / NAME
        self._earlier = captures(directory)
        self._began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._written: CaptureRecord | None = None

    def put(self, record: CaptureRecord) -> None:
        """Keep what this capture did so far, in place of what it had done before.

        Raises:
            MapError: if the disk does not take it; what was kept before is intact.
        """
        if record == self._written:
            return
        kept = [*self._earlier, {"began": self._began, **asdict(record)}][-KEPT_CAPTURES:]
        with disk_errors("write", self._path):
            replace_file(self._path, json.dumps({"captures": kept}, indent=1).encode())
        self._written = record


def captures(directory: MapDirectory) -> list[dict[str, Any]]:
    """The captures of a map, oldest first: the fields of a CaptureRecord, and when each began.

    Empty where nothing was kept, and where what was kept is damaged, which is logged.
    """
    path = directory.keyframes_path / NAME
    try:
        path = own_file(directory.keyframes_path, NAME)
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_BYTES))
        return [_checked(record) for record in content["captures"]]
    except FileNotFoundError:
        return []
    except (OSError, MapError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        logger.warning("%s cannot be read and is passed over: %s", path, " ".join(str(error).split())[:200])
        return []


def _checked(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with nothing in it but what belongs there; raises ValueError, TypeError or KeyError otherwise."""
    dropped = {str(reason): int(count) for reason, count in record["dropped"].items()}
    if not all(map(REASON.fullmatch, dropped)):
        raise ValueError("a reason is a word")
    return {
        "began": str(record["began"]),
        "source": str(record["source"]),
        "images": int(record["images"]),
        "kept": int(record["kept"]),
        "dropped": dropped,
        "first": {str(reason): str(text) for reason, text in record["first"].items()},
        "notes": tuple(str(note) for note in record["notes"]),
    }
