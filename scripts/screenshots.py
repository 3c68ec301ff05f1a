# SPDX-License-Identifier: Apache-2.0
"""The report and the viewer of a map as a headless Chromium shows them; needs chromium, playwright and viser."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.pictures import Image

# No GPU is needed; what a browser asks its maker for in the background is left out.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
PATIENCE = 240_000  # milliseconds
SETTLE = 8_000  # milliseconds that the splats take to be drawn after a change
REPORT_SIZE, VIEWER_SIZE = (1100, 1250), (1280, 720)
GAUSSIANS = 60_000


def report_page(path: Path, prompts: Sequence[str]) -> Image:
    """The first screen of what `ccl-lgs report` writes."""
    from ccl_lgs_ros.report.page import write_report

    with tempfile.TemporaryDirectory() as folder:
        write_report(path, Path(folder) / "report.html", MapConfig(), prompts)
        with _tab(REPORT_SIZE) as tab:
            tab.goto((Path(folder) / "report.html").as_uri())
            return _pixels(tab)


def viewer_page(path: Path, prompt: str) -> Image:
    """What `ccl-lgs view` shows when a prompt was typed."""
    from ccl_lgs_ros.viewer.server import Viewer

    viewer = Viewer(path, MapConfig(), host="127.0.0.1", port=0, max_gaussians=GAUSSIANS)
    with viewer, _tab(VIEWER_SIZE) as tab:
        tab.goto(viewer.url)
        tab.get_by_text("version").first.wait_for()
        tab.locator(".mantine-Notification-closeButton").first.click()  # that there is no GPU here
        box = tab.get_by_role("textbox").first
        box.fill(prompt)
        box.press("Enter")
        tab.get_by_text("instance").first.wait_for()
        tab.wait_for_timeout(SETTLE)
        return _pixels(tab)


@contextmanager
def _tab(size: tuple[int, int]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS), timeout=PATIENCE)
        tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
        tab.set_default_timeout(PATIENCE)
        yield tab
        browser.close()


def _pixels(tab: Any) -> Image:
    image = cv2.imdecode(np.frombuffer(tab.screenshot(timeout=PATIENCE), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
