# SPDX-License-Identifier: Apache-2.0
"""cv_bridge reads images where it is installed and proves itself; otherwise our decoder does, with one warning."""

import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: run make setup")

from ccl_lgs_ros.msg import Keyframe
from ros.cv_bridge_stand_in import OF_A_LATER_VERSION
from ros.fake_camera import START_NS, STEP_PX, WIDTH, wall
from ros.harness import RELIABLE
from ros.loose_camera import LooseCamera

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, decode_colour
from ccl_lgs_ros.ingest.records import ColourRecord
from ccl_lgs_ros.ros.cv_bridge_decoder import CHECK_TIMEOUT, CvBridgeDecoder, choose_colour_decoder
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

STAND_IN = Path(__file__).with_name("cv_bridge_stand_in.py")
FAULTS = {  # what is added to cv_bridge -> what the warning says
    "raise ImportError('numpy.core.multiarray failed to import')": "multiarray failed to import",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "crashes with signal 11",
    "CvBridge.imgmsg_to_cv2 = lambda s, m, d: np.zeros((m.height, m.width, 3), np.uint8)": "reads rgb8, bgr8",
    "COLOURS['bgr'] = COLOURS['rgb']": "it reads bgr8, bgr16 wrongly",
    "CvBridge.imgmsg_to_cv2 = None": "none of the common encodings",
}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, added: str = "") -> None:
    """A cv_bridge that this process and those that it starts find."""
    package = folder / "cv_bridge"
    package.mkdir()
    shutil.copy(STAND_IN, package / "__init__.py")
    (package / "__init__.py").open("a").write(f"\n{added}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[2]}", prepend=":")
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)


def record(encoding: str, size: tuple[int, int] = (10, 6), *, step: int = 120, **changes: object) -> ColourRecord:
    data = np.random.default_rng(1).integers(0, 256, size[1] * step, np.uint8)
    fields = {"stamp_ns": 1, "frame_id": "c", "width": size[0], "height": size[1], "data": data, **changes}
    return ColourRecord(encoding=encoding, step=step, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def with_cv_bridge(tmp_path_factory: pytest.TempPathFactory) -> CvBridgeDecoder:
    with pytest.MonkeyPatch.context() as patch:
        install(patch, tmp_path_factory.mktemp("site"))
        chosen = choose_colour_decoder()
        assert isinstance(chosen, CvBridgeDecoder)
        return chosen


def test_row_36_without_cv_bridge_our_decoder_is_taken_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_colour_decoder() is decode_colour
    assert not caplog.records


@pytest.mark.parametrize("added", FAULTS)
def test_row_36_a_cv_bridge_that_does_not_fit_is_left_out_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, added: str
) -> None:
    install(monkeypatch, tmp_path, added)
    assert choose_colour_decoder() is decode_colour
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert FAULTS[added] in warning and warning.endswith("images are read by our own decoder")
    assert "cv_bridge" not in sys.modules


def test_row_36_a_cv_bridge_that_hangs_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("ccl_lgs_ros.ros.cv_bridge_decoder.CHECK_TIMEOUT", CHECK_TIMEOUT / 30)
    install(monkeypatch, tmp_path, "import time; time.sleep(60)")
    assert choose_colour_decoder() is decode_colour
    assert "did not end within 1 s" in caplog.text


def test_row_36_with_cv_bridge_every_encoding_gives_the_same_picture(
    with_cv_bridge: CvBridgeDecoder, record_property
) -> None:
    by_cv_bridge = 0
    for encoding in COLOUR_ENCODINGS:
        sent = record(encoding)
        by_cv_bridge += with_cv_bridge.converted(sent) is not None
        assert np.abs(with_cv_bridge(sent).astype(int) - decode_colour(sent)).max() <= 1, encoding
    assert 0 < by_cv_bridge < len(COLOUR_ENCODINGS)
    record_property("figure", f"{by_cv_bridge} of {len(COLOUR_ENCODINGS)} encodings by cv_bridge, all by ours")


def test_row_36_an_encoding_that_only_cv_bridge_knows_is_read(with_cv_bridge: CvBridgeDecoder) -> None:
    sent = record(OF_A_LATER_VERSION, (40, 6))
    pixels = np.asarray(sent.data).reshape(6, 40, 3)
    np.testing.assert_array_equal(with_cv_bridge(sent), pixels[..., [2, 0, 1]])
    with pytest.raises(DecodeError, match=OF_A_LATER_VERSION):
        decode_colour(sent)


@pytest.mark.parametrize(
    "sent",
    [
        record("bgr8", step=31),  # rows of 30 bytes, which cv_bridge would shear
        record("bgr8", step=0, data=bytes(180)),
        record("mono16", is_bigendian=True),  # cv_bridge's way does not exist in numpy 2
        record("8UC3"),  # cv_bridge sees no colours in it
    ],
    ids=["padding", "no-step", "big-endian", "8UC3"],
)
def test_row_36_what_cv_bridge_cannot_read_is_left_to_our_decoder(
    with_cv_bridge: CvBridgeDecoder, sent: ColourRecord
) -> None:
    assert with_cv_bridge.converted(sent) is None
    np.testing.assert_array_equal(with_cv_bridge(sent), decode_colour(sent))


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (record("bgr8", data=b"short"), "got rows of 120 and 5"),
        (record("bgr8", step=9), "rows of 30 bytes"),
        (record("bgr8", (0, 0)), "1x1"),
        (record("no_such"), "no_such"),
        (record("", is_compressed=True, format="jpeg", data=b"no picture"), "neither"),
    ],
)
def test_row_36_what_neither_can_read_is_refused_by_ours(
    with_cv_bridge: CvBridgeDecoder, sent: ColourRecord, word: str
) -> None:
    with pytest.raises(DecodeError, match=word):
        with_cv_bridge(sent)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("", "raw colour images are read by cv_bridge"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "images are read by our own decoder"),
    ],
    ids=["sound", "crashing"],
)
def test_row_36_the_node_keeps_images_with_a_sound_and_with_a_crashing_cv_bridge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client, start, added: str, said: str
) -> None:
    install(monkeypatch, tmp_path, added)
    node = start("keyframe_node", map_path=tmp_path / "map", qos="reliable", ingest__tf_timeout=10.0)
    keyframes = client.collect(Keyframe, "keyframe")
    camera = LooseCamera(client, RELIABLE)
    camera.send(START_NS)
    client.until(lambda: keyframes, 60, "a keyframe")
    assert node.output.count("images are read by") == 1 and said in node.output
    (stored,) = KeyframeStore(MapDirectory.open(tmp_path / "map"))
    left = START_NS // 100_000_000 % 16 * STEP_PX
    sent = wall()[:, left : left + WIDTH].astype(int)
    assert np.abs(stored.image - sent).mean() < 6  # stored as JPEG
