# SPDX-License-Identifier: Apache-2.0
"""The worker's reports to the node, often enough to follow and seldom enough to cost nothing."""

import time

from ccl_lgs_ros.ros.process_memory import peak_memory
from ccl_lgs_ros.ros.worker_inbox import Outbox
from ccl_lgs_ros.ros.worker_messages import Report
from ccl_lgs_ros.ros.worker_results import fields_of
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap

PERIOD = 0.2  # seconds between reports of one stage


class Reporter:
    """Sends reports, and knows when the next one is due.

    Args:
        directory: of the map.
        outbox: to the node.
    """

    def __init__(self, directory: MapDirectory, outbox: Outbox) -> None:
        self.stage = ""  # that was reported last
        self._directory, self._outbox = directory, outbox
        self._sent_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the last report is old."""
        return time.monotonic() - self._sent_at > PERIOD

    def send(self, published: SemanticMap | None, *, stage: str, **figures: object) -> None:
        """One report.

        Args:
            published: the map whose figures hold where no others are given.
            figures: fields of a Report.
        """
        self.stage, self._sent_at = stage, time.monotonic()
        fields = fields_of(self._directory, published)
        known = {name: value for name, value in fields.items() if name in Report.__dataclass_fields__}
        self._outbox.send(
            Report(
                **{**known, "num_published": fields["num_keyframes"], **figures},  # type: ignore[arg-type]
                stage=stage,
                map_id=self._directory.map_id,
                memory=peak_memory(),
            )
        )
