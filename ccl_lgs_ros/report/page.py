# SPDX-License-Identifier: Apache-2.0
"""The report: every section's data, put into one page that needs nothing but itself."""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError, MapError
from ccl_lgs_ros.protocols import Progress, no_progress
from ccl_lgs_ros.report import codes, dropped, head, plan, prompts, renders, strips, timings
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.storage.durable import TEMPORARY_PREFIX, disk_errors, write_file

logger = logging.getLogger(__name__)

TEMPLATE = "page.html"
# In the order of the page: its name in the template, its title, and what makes it.
SECTIONS: tuple[tuple[str, str, Callable[[Subject], dict[str, Any]]], ...] = (
    ("plan", "From above", plan.section),
    ("prompts", "Questions and answers", prompts.section),
    ("renders", "Renderings beside photos", renders.section),
    ("codes", "What it takes for one thing", codes.section),
    ("strips", "Things, as they were seen", strips.section),
    ("dropped", "Images that were dropped, and why", dropped.section),
    ("timings", "Time and memory", timings.section),
)


def write_report(
    map_path: Path | str,
    output: Path,
    config: MapConfig,
    asked: Sequence[str] = (),
    progress: Progress = no_progress,
) -> int:
    """Write the page of a map's newest version; returns its size in bytes.

    What a map lacks, its section says; what stops the work leaves no file behind, and one that was there as it was.

    Args:
        asked: prompts to show the answers to; where there are none, some are chosen.

    Raises:
        MapError: if there is no map, or the page cannot be written.
    """
    if output.is_dir():
        raise MapError(f"{output} is a folder; name the file to write, for instance {output / 'report.html'}")
    subject = Subject(map_path, config, asked, progress)
    page = page_of(subject).encode()
    temporary = output.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{output.name}")
    with disk_errors("write", output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_file(temporary, page)
            temporary.replace(output)
        finally:
            temporary.unlink(missing_ok=True)
    return len(page)


def page_of(subject: Subject) -> str:
    """The page as HTML."""
    made = []
    for done, (name, title, section) in enumerate(SECTIONS, start=1):
        made.append({"name": name, "title": title, **_data(section, subject)})
        subject.progress("report", done, len(SECTIONS))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(TEMPLATE).render(head=head.section(subject), sections=made, written=written)


def _data(section: Callable[[Subject], dict[str, Any]], subject: Subject) -> dict[str, Any]:
    """A section's data, or why there is none."""
    try:
        return {"missing": "", **section(subject)}
    except CclLgsError as error:
        logger.warning("%s", error)
        return {"missing": str(error)}
