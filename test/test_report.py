# SPDX-License-Identifier: Apache-2.0
"""The report of a map is one page that stands alone, says what the map says, and what a map lacks it says too."""

import base64
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mini_scene import gaussians_at
from test_keyframe_store import keyframe, writer

from ccl_lgs_ros.cli import main
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.geometry import rigid
from ccl_lgs_ros.ingest.drops import REASONS
from ccl_lgs_ros.perception.colour_families import FAMILIES
from ccl_lgs_ros.report.dropped import FIXES
from ccl_lgs_ros.report.head import size_text
from ccl_lgs_ros.report.page import SECTIONS, write_report
from ccl_lgs_ros.report.strips import crop
from ccl_lgs_ros.report.timings import seconds_text
from ccl_lgs_ros.storage.capture_log import CaptureLog, CaptureRecord
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import NONE, Codebook, Gaussians, SemanticLevel, SemanticMap

VOID = {"meta", "img", "br", "circle", "image", "polyline", "polygon", "rect", "path"}
NASTY = '<script>alert("1")</script><img src=x onerror=alert(1)>'
MOST_BYTES = 5_000_000


class Page(HTMLParser):
    """A page as a browser takes it: its text, its attributes, its pictures; raises where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.open, self.tags = html, list[str](), list[str]()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What is read."""
        return " ".join(" ".join(self.words).split())

    @property
    def pictures(self) -> list[np.ndarray]:
        """Every picture, decoded."""
        uris = [v for tag, name, v in self.attributes if (tag, name) in {("img", "src"), ("image", "href")}]
        return [decoded(uri) for uri in uris]

    def values(self, name: str) -> list[str]:
        return [value for _, of, value in self.attributes if of == name]


def decoded(uri: str) -> np.ndarray:
    kind, data = uri.split(",", 1)
    assert kind in ("data:image/jpeg;base64", "data:image/png;base64")
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data, validate=True), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def page_of(path: Path, tmp_path: Path, *prompts: str) -> Page:
    output = tmp_path / "page.html"
    size = write_report(path, output, MapConfig(), prompts)
    assert size == output.stat().st_size < MOST_BYTES
    return Page(output.read_text())


def assert_stands_alone(page: Page) -> None:
    """Nothing on it leads out of it, and no script is in it."""
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in ("src", "href"):
        assert all(value.startswith(("data:image/", "#")) for value in page.values(name))
    style = page.html.split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)


@pytest.fixture(scope="module")
def room_page(mapped_room, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, SemanticMap]:
    room = mapped_room("plain")
    prompts = room.truth.objects[0].category, f"red {NASTY} thing"
    return page_of(room.map, tmp_path_factory.mktemp("report"), *prompts), room.semantic_map


def test_a_rooms_page_stands_alone_and_has_every_section(room_page: tuple[Page, SemanticMap]) -> None:
    page, _ = room_page
    assert_stands_alone(page)
    assert "missing" not in page.values("class")
    assert {name for name, _, _ in SECTIONS} <= set(page.values("id"))
    assert len(page.pictures) > 40
    assert all(picture.std() > 1 for picture in page.pictures[:8])


def test_figures_of_the_page_are_the_maps(room_page: tuple[Page, SemanticMap]) -> None:
    page, semantic_map = room_page
    info: Any = semantic_map.info
    text = page.text
    for value in (
        f"{info['keyframes']} keyframes",
        f"{len(semantic_map.gaussians):,} Gaussians",
        f"{semantic_map.levels['wp'].num_tracks} tracks, wp",
        f"{info['held_out']['psnr']:.1f} dB",
        f"{100 * info['held_out']['covered']:.1f} %",
        semantic_map.map_id,
        semantic_map.encoder,
        *info["backends"].values(),
    ):
        assert value in text, value
    for name, stage in info["stages"].items():
        assert f"{name} " in text and seconds_text(stage["seconds"]) in text and size_text(stage["peak_bytes"]) in text


def test_the_mean_of_the_bars_is_the_recorded_psnr(room_page: tuple[Page, SemanticMap]) -> None:
    page, semantic_map = room_page
    info: Any = semantic_map.info
    bars = [float(value.split()[-2]) for value in page.values("title") if value.endswith("dB")]
    assert len(bars) == info["held_out"]["views"]
    assert np.mean(bars) == pytest.approx(info["held_out"]["psnr"], abs=0.5), "what has changed counts here"


def test_what_was_asked_is_answered_in_words(room_page: tuple[Page, SemanticMap], mapped_room) -> None:
    page, _ = room_page
    prompt = mapped_room("plain").truth.objects[0].category
    assert f'"{prompt}": 1 instance' in page.text
    assert NASTY in " ".join(page.words)  # as text


def level_of(count: int, track: list[int]) -> SemanticLevel:
    entries = torch.eye(len(FAMILIES))[:2]
    return SemanticLevel(
        track_of_gaussian=torch.tensor(track, dtype=torch.int32),
        confidence=torch.full((count,), 255, dtype=torch.uint8),
        entry_of_track=torch.zeros(max(track, default=NONE) + 1, dtype=torch.int64),
        codebook=Codebook(entries=entries, weight=torch.ones(2)),
    )


def hand_made(path: Path, *, num_gaussians: int = 40, keyframes: int = 3, tracks: bool = True, **given: Any) -> Path:
    """A map of a few Gaussians before a camera, published without any pipeline."""
    directory = MapDirectory.create(path)
    if keyframes:
        with writer(directory) as store:
            for index in range(keyframes):
                pose = rigid(np.eye(3), np.array([0.05 * index, 0.0, 0.0]))
                store.append(replace(keyframe(index), world_from_camera=pose))
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (num_gaussians, 3)) + (0.0, 0.0, 2.0)
    gaussians = gaussians_at(points, scale=0.1) if num_gaussians else Gaussians.empty()
    track = [0 if i < num_gaussians // 2 else 1 for i in range(num_gaussians)] if tracks else [NONE] * num_gaussians
    levels = {name: level_of(num_gaussians, track) for name in ("sp", "wp")}
    publish(directory, SemanticMap(gaussians=gaussians, levels=levels, encoder="builtin/1", **given))
    return path


@pytest.mark.parametrize(
    ("lacks", "sections"),
    [
        ({}, {"strips"}),  # two things that are all there is: no more than a background
        ({"keyframes": 0}, {"renders", "codes", "strips"}),
        ({"tracks": False}, {"prompts", "codes", "strips"}),
        ({"num_gaussians": 0}, {"plan", "prompts", "renders", "codes", "strips"}),
        ({"num_gaussians": 0, "keyframes": 0}, {"plan", "renders", "codes", "strips", "prompts"}),
        ({"keyframes": 1}, {"strips"}),
    ],
)
def test_what_a_map_lacks_is_said_in_its_section(lacks: dict, sections: set[str], tmp_path: Path) -> None:
    page = page_of(hand_made(tmp_path / "map", **lacks), tmp_path, "red")
    assert_stands_alone(page)
    parts = re.split(r'<section id="(\w+)">', page.html)
    silent = {name for name, body in zip(parts[1::2], parts[2::2], strict=True) if 'class="missing"' in body}
    assert silent == sections | {"dropped", "timings", "made"}, "which hand-made maps never record"
    assert "None" not in page.text and "nan" not in page.text.lower().split()
    assert bool(page.pictures) == ("plan" not in silent)


def test_a_keyframe_that_cannot_be_read_costs_its_sections_alone(tmp_path: Path) -> None:
    path = hand_made(tmp_path / "map")
    for image in (path / "keyframes" / "images").iterdir():
        image.unlink()
    page = page_of(path, tmp_path)
    assert "Gaussians" in page.text and "000000.jpg" in page.text
    assert page.pictures, "the plan needs no photo"


def test_names_and_values_from_outside_are_text(tmp_path: Path) -> None:
    info = {
        "options": {NASTY: NASTY, "gaussians.holdout_every": NASTY},
        "backends": {NASTY: NASTY},
        "stages": {NASTY: {"seconds": 1.0, "count": 1, "peak_bytes": 1}},
        "held_out": NASTY,
        "keyframes": NASTY,
        "entries": NASTY,
    }
    path = hand_made(tmp_path / "a <b>map", info=info)
    directory = MapDirectory.open(path)
    CaptureLog(directory).put(
        CaptureRecord(source=NASTY, images=3, kept=2, dropped={"tf": 1}, first={"tf": NASTY}, notes=(NASTY,))
    )
    page = page_of(path, tmp_path, NASTY)
    assert_stands_alone(page)
    assert "<b>map" not in page.html
    assert " ".join(page.words).count(NASTY) >= 7


def test_figures_of_any_kind_give_a_page(tmp_path: Path) -> None:
    info = {"options": 3, "backends": [], "stages": [1], "held_out": {"psnr": None}, "keyframes": -1, "refined": "all"}
    assert_stands_alone(page_of(hand_made(tmp_path / "map", info=info), tmp_path))


def test_drops_are_listed_with_what_helps(tmp_path: Path) -> None:
    path = hand_made(tmp_path / "map")
    for dropped in ({"blur": 1200, "tf": 3}, {"tf": 4}):
        log = CaptureLog(MapDirectory.open(path))
        log.put(CaptureRecord(source="drive", images=2000, kept=9, dropped=dropped, first={"tf": "no transform"}))
    text = page_of(path, tmp_path).text
    assert "Of 4,000 images 18 became keyframes" in text and "2 captures" in text
    assert re.search(rf"blur 1,200 {re.escape(FIXES['blur'])}", text)
    assert re.search(rf"tf 7 no transform {re.escape(FIXES['tf'])}", text)


def test_every_reason_has_a_fix_that_names_options_that_exist() -> None:
    from ccl_lgs_ros.config import options

    assert set(FIXES) == set(REASONS)
    known = {name for name, _, _ in options(MapConfig())}
    named = set(re.findall(r"\b(?:ingest|keyframes|frames)\.\w+", " ".join(FIXES.values())))
    assert named and named <= known


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_what_stops_the_work_leaves_the_file_that_was_there(
    stop: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = hand_made(tmp_path / "map"), tmp_path / "out" / "report.html"
    output.parent.mkdir()
    output.write_text("an earlier page")

    def progress(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "report" and done == 2:
            raise stop

    with pytest.raises(stop):
        write_report(path, output, MapConfig(), progress=progress)
    assert [file.name for file in output.parent.iterdir()] == ["report.html"]
    assert output.read_text() == "an earlier page"


def test_the_command_writes_the_page_and_says_how_large_it_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, output = hand_made(tmp_path / "map"), tmp_path / "report.html"
    assert main(["report", str(path), "-o", str(output), "--prompts", "red", "dark blue"]) == 0
    assert f"{output}: 0." in capsys.readouterr().out
    assert "“dark blue”" in Page(output.read_text()).text
    assert main(["report", str(tmp_path / "none"), "-o", str(output)]) == 2
    assert main(["report", str(path), "-o", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_map_of_one_version_is_reported_as_that_version(tmp_path: Path) -> None:
    path = hand_made(tmp_path / "map", info={"options": {"gaussians.holdout_every": 2}, "keyframes": 3})
    publish(MapDirectory.open(path), load(MapDirectory.open(path)))
    page = page_of(path, tmp_path)
    assert "Version 2" in page.text
    assert "Keyframe 1: " in page.text and "Keyframe 0: " not in page.text, "every second was held out"


def test_a_crop_shows_what_is_marked_and_fades_the_rest() -> None:
    photo = np.full((60, 80, 3), (200, 30, 30), np.uint8)
    mask = np.zeros((30, 40), np.bool_)
    mask[10:20, 10:20] = True
    cut = crop(photo, mask, (0, 255, 0))
    assert cut.shape[0] == cut.shape[1]
    middle, corner = cut[cut.shape[0] // 2, cut.shape[1] // 2], cut[1, 1]
    assert tuple(middle) == (200, 30, 30)
    assert np.ptp(corner.astype(int)) <= 1, "grey"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 s"), (0.123, "0.12 s"), (9.96, "10.0 s"), (61.4, "1 min 01 s"), (7325, "2 h 02 min")],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.browser
def test_nothing_of_the_page_is_wider_than_a_phone_or_a_screen(
    room_page: tuple[Page, SemanticMap], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    (tmp_path / "page.html").write_text(room_page[0].html)
    asked: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for width in (400, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            page.goto((tmp_path / "page.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        browser.close()
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)
