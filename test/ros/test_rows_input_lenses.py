# SPDX-License-Identifier: Apache-2.0
"""Row 15: what a distorted image shows is where the undistorted camera says, or the calibration is refused."""

from dataclasses import replace

import numpy as np
import pytest
from capture_records import drive, in_order
from capture_runs import capture
from seen_dots import centre, distorted, dot

from ccl_lgs_ros.ingest.records import CameraInfoRecord, Record
from ccl_lgs_ros.ingest.rectify import Rectifier, lens_of

SIZE = (640, 480)
K = (520.0, 0.0, 325.1, 0.0, 518.0, 236.4, 0.0, 0.0, 1.0)
BOUND = 0.5  # pixels
MARGIN = 12  # pixels that a dot needs
LENSES = {  # of a webcam, a wide one, a depth camera's colour sensor, a fisheye, and none
    "plumb_bob": (0.16, -0.45, 0.001, -0.002, 0.3),
    "plumb_bob, wide": (-0.28, 0.07, 0.001, -0.0005, 0.0),
    "rational_polynomial": (0.5, 0.05, 0.0003, -0.0002, 0.002, 0.85, 0.12, 0.01),
    "equidistant": (0.03, -0.01, 0.004, -0.001),
    "no coefficients": (),
}


def info(model: str, d: tuple[float, ...]) -> CameraInfoRecord:
    return CameraInfoRecord(
        stamp_ns=1, frame_id="camera", width=SIZE[0], height=SIZE[1], k=K, distortion_model=model, d=d
    )


@pytest.mark.parametrize("name", LENSES)
def test_row_15_points_reproject_within_half_a_pixel(name: str, record_property) -> None:
    d = LENSES[name]
    model = name.partition(",")[0] if d else "plumb_bob"
    lens = lens_of(info(model, d), is_rectified=False, size=SIZE)
    errors = [
        error for size in (640, 320) for error in reprojection_errors(Rectifier(lens, max_image_size=size), model, d)
    ]
    assert len(errors) >= 16 and max(errors) < BOUND
    record_property("figure", f"{name}: {max(errors):.2f} px at most")


def reprojection_errors(rectifier: Rectifier, model: str, d: tuple[float, ...]) -> list[float]:
    """Pixels between where points are seen and where the undistorted camera says, for those well inside the image."""
    x, y = np.meshgrid(np.linspace(-1.1, 1.1, 5), np.linspace(-0.8, 0.8, 4))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)], axis=-1)
    errors = []
    for point, pixel in zip(points, distorted(points, model, d, K), strict=True):
        wanted = rectifier.camera.project(point)
        limits = np.array([rectifier.camera.width, rectifier.camera.height]) - MARGIN
        if (wanted > MARGIN).all() and (wanted < limits).all():
            errors.append(float(np.abs(centre(rectifier.image(dot(pixel, SIZE, sigma=3.0))) - wanted).max()))
    return errors


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"k": (0.0,) * 9}, "has no focal length"),
        ({"d": (0.1, 0.2, 0.3)}, "expected 4 or 5 or none"),
        ({"distortion_model": "ftheta", "d": (0.1,) * 4}, "known: plumb_bob, rational_polynomial, equidistant"),
        ({"d": (float("nan"),) * 5}, "finite"),
    ],
)
def test_row_15_a_calibration_that_says_nothing_is_a_clear_error(changes: dict, word: str) -> None:
    topics = drive(10)
    topics["info"] = [_changed(record, **changes) for record in topics["info"]]
    made, store = capture(in_order(topics))
    assert len(store) == 0 and made.counts["format"] > 0
    text = made.drops.first["format"]
    assert word in text and "the camera_info of 'camera'" in text and text in made.status_text


def _changed(record: Record, **changes: object) -> Record:
    return replace(record, **changes)  # type: ignore[arg-type]
