# SPDX-License-Identifier: Apache-2.0
"""The viewer's page in a browser: a prompt is typed, and what is seen is looked at, pixel by pixel.

The screenshots lie in artifacts/viewer/ afterwards.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from splat_room import BLUE, FLOOR, RED, SECOND_BLUE, ColouredBox, make_map, room_map

from ccl_lgs_ros.boxes_in_pictures import EDGES
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.geometry import invert_rigid, rigid, rotation_from_quat, transform_points
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import SPLAT, publish
from ccl_lgs_ros.viewer.server import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts" / "viewer"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
SIZE = {"width": 780, "height": 420}
PATIENCE = 240_000  # milliseconds; pixels are drawn without a GPU
LOOKS, BETWEEN_LOOKS = 25, 500  # screenshots tried until a page has drawn what it was told; milliseconds between them
NEAR_A_LINE = 5  # pixels
PHOTO = re.compile(r"^keyframe \d+$")  # what stands over one
YELLOW = 70  # of 255, by which red and green are more than blue; the browser's light makes lines paler
COLOUR_TOLERANCE = 60.0  # of 255, as a distance: light and blending

Image = NDArray[Any]


class Tab:
    """A browser tab with the viewer in it, and where in its pixels a point of the world is."""

    def __init__(self, page: Any, viewer: Viewer) -> None:
        self.page, self._viewer = page, viewer

    def pixels(self) -> Image:
        """What is seen now [H, W, 3]."""
        png = self.page.screenshot(timeout=PATIENCE)
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def looks(self, name: str, is_right: Any) -> Image:
        """A screenshot that is right, as soon as there is one; the last is kept as a file, and returned."""
        for _ in range(LOOKS):
            image = self.pixels()
            if is_right(image):
                break
            self.page.wait_for_timeout(BETWEEN_LOOKS)
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(ARTIFACTS / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return image

    def places(self, points: Any) -> NDArray[np.int64]:
        """Columns and rows [n, 2] of points [n, 3], as the tab's camera has them."""
        client = next(iter(self._viewer.clients.values()))
        camera = client.camera
        focal = camera.image_height / 2.0 / np.tan(camera.fov / 2.0)
        lens = Camera(
            width=camera.image_width, height=camera.image_height, fx=focal, fy=focal,
            cx=camera.image_width / 2.0, cy=camera.image_height / 2.0,
        )  # fmt: skip
        pose = rigid(rotation_from_quat(camera.wxyz), camera.position)
        return lens.project(transform_points(invert_rigid(pose), np.asarray(points, np.float64))).astype(np.int64)

    def color_of(self, image: Image, point: Any) -> NDArray[np.float64]:
        """The middle colour around a point of the world."""
        column, row = self.places([point])[0]
        return np.median(image[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3), axis=0)

    def ask(self, prompt: str) -> None:
        box = self.page.get_by_role("textbox").first
        box.fill(prompt)
        box.press("Enter")

    def sees(self, text: str) -> None:
        """Waits until the page says something."""
        self.page.get_by_text(text).first.wait_for(timeout=PATIENCE)

    def colour_by(self, mode: str) -> None:
        self.page.locator("input[value=photo], input[value=relevancy], input[value=tracks]").first.click()
        self.page.get_by_role("option", name=mode).click()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> MapDirectory:
    return make_map(tmp_path_factory.mktemp("viewer") / "room", RED, BLUE)


@pytest.fixture(scope="module")
def tab(directory: MapDirectory) -> Iterator[Tab]:
    from playwright.sync_api import sync_playwright

    viewer = Viewer(directory.path, MapConfig(), host="127.0.0.1", port=0, max_gaussians=40_000)
    with viewer, sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=which("chromium"), args=FLAGS, timeout=PATIENCE)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE)
        page.goto(viewer.url)
        tab = Tab(page, viewer)
        tab.sees("version 1")
        page.locator(".mantine-Notification-closeButton").first.click()  # that there is no GPU here
        yield tab
        browser.close()


def front_of(box: ColouredBox) -> NDArray[np.float64]:
    """The middle of the top of a box, which no other hides."""
    return np.array(box.center) + [0.0, 0.0, box.size[2] / 2.0]


def is_like(color: NDArray[np.float64], wanted: tuple[int, int, int]) -> bool:
    return bool(np.linalg.norm(color - wanted) < COLOUR_TOLERANCE)


def edge_points(box: ColouredBox) -> NDArray[np.float64]:
    """The middles [4, 3] of the edges of a box's top."""
    corners = np.array([[(i & 1), (i >> 1 & 1), (i >> 2 & 1)] for i in range(8)]) - 0.5
    middles = np.array([(corners[a] + corners[b]) / 2.0 for a, b in EDGES])
    return middles[middles[:, 2] == 0.5] * box.size + box.center


def num_edges_seen(tab: Tab, image: Image, box: ColouredBox) -> int:
    """How many of the four edges of a box's top have a yellow line beside them."""
    is_line = image[..., :2].min(axis=-1).astype(int) - image[..., 2] > YELLOW
    reach = slice(-NEAR_A_LINE, NEAR_A_LINE + 1)
    return sum(
        is_line[row + reach.start : row + reach.stop, column + reach.start : column + reach.stop].any()
        for column, row in tab.places(edge_points(box))
    )


def test_the_page_shows_the_map_and_answers_a_prompt_that_is_typed(tab: Tab) -> None:
    def shows_the_room(image: Image) -> bool:
        colours = ((RED, RED.colour), (BLUE, BLUE.colour))
        return all(is_like(tab.color_of(image, front_of(box)), colour) for box, colour in colours)

    photo = tab.looks("splats", shows_the_room)
    assert shows_the_room(photo), "each thing is where it is, in its colour"
    assert is_like(tab.color_of(photo, (0.0, 0.0, 0.0)), FLOOR)
    assert num_edges_seen(tab, photo, BLUE) == 0, "nothing is boxed before anything is asked"

    tab.ask("blue box")
    tab.sees("1 instance")
    boxed = tab.looks("box", lambda image: num_edges_seen(tab, image, BLUE) >= 3)
    assert num_edges_seen(tab, boxed, BLUE) >= 3, "the answer is boxed where it is"
    assert num_edges_seen(tab, boxed, RED) == 0

    def is_warm(image: Image) -> bool:
        red, _, blue = tab.color_of(image, front_of(BLUE))
        return red > blue + 60

    tab.colour_by("relevancy")
    hot = tab.looks("heat", is_warm)
    assert is_warm(hot), "what answers is hot"
    assert np.ptp(tab.color_of(hot, front_of(RED))) < 60, "what does not is not"


@pytest.mark.parametrize(("prompt", "clicked"), [("red box", "box"), ("blue box", "button")])
def test_an_instance_that_is_clicked_shows_its_best_views(tab: Tab, prompt: str, clicked: str) -> None:
    tab.ask(prompt)
    tab.sees(f"“{prompt}”: 1 instance")
    assert tab.page.get_by_text(PHOTO).count() == 0
    if clicked == "box":
        column, row = tab.places([RED.center])[0]
        tab.page.mouse.click(int(column), int(row))
    else:
        tab.page.get_by_role("button", name="score").first.click()
    tab.sees("Best views")
    tab.sees("Where to stand:")
    assert tab.page.get_by_text(PHOTO).count() >= 1


def test_a_prompt_that_nothing_answers_says_so(tab: Tab) -> None:
    tab.ask("green box")
    tab.sees("“green box”: nothing found")
    assert tab.page.get_by_role("button", name="score").count() == 0


def test_a_map_that_grows_is_shown_and_asked_anew(tab: Tab, directory: MapDirectory) -> None:
    tab.ask("blue box")
    tab.sees("“blue box”: 1 instance")
    publish(directory, room_map(RED, BLUE, SECOND_BLUE))
    tab.sees("version 2")
    tab.sees("“blue box”: 2 instances")


def test_a_damaged_version_is_named_and_the_page_stays(tab: Tab, directory: MapDirectory) -> None:
    version = publish(directory, room_map(RED)).version
    splat = directory.snapshot_path(version) / SPLAT
    splat.write_bytes(splat.read_bytes()[:-100])
    tab.sees("is damaged")
    tab.sees("version 2")
