# SPDX-License-Identifier: Apache-2.0
"""A point in space falls where the undistorted camera says it does."""

import numpy as np
import pytest
from seen_dots import centre, distorted, dot

from ccl_lgs_ros.errors import DecodeError
from ccl_lgs_ros.ingest.records import CameraInfoRecord
from ccl_lgs_ros.ingest.rectify import Lens, Rectifier, lens_of
from ccl_lgs_ros.ingest.registration import RayMap, register_depth

SIZE = (320, 240)
K = (200.0, 0.0, 163.3, 0.0, 202.0, 117.8, 0.0, 0.0, 1.0)
MODELS = [
    ("plumb_bob", ()),
    ("plumb_bob", (0.0,) * 5),
    ("plumb_bob", (-0.28, 0.07, 0.001, -0.0005, 0.0)),
    ("plumb_bob", (0.12, -0.2, 0.001, -0.002, 0.05)),
    ("rational_polynomial", (0.5, 0.05, 0.0003, -0.0002, 0.002, 0.85, 0.12, 0.01)),
    ("equidistant", (0.03, -0.01, 0.004, -0.001)),
    ("equidistant", (0.0, 0.0, 0.0, 0.0)),
]


def info(**changes: object) -> CameraInfoRecord:
    fields = {"stamp_ns": 1, "frame_id": "camera", "width": SIZE[0], "height": SIZE[1], "k": K, **changes}
    return CameraInfoRecord(**fields)  # type: ignore[arg-type]


def points() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-0.45, 0.45, 4), np.linspace(-0.33, 0.33, 3))
    return np.stack([2 * x.ravel(), 2 * y.ravel(), np.full(x.size, 2.0)], axis=-1)


@pytest.mark.parametrize("max_image_size", [1000, 320, 200, 100])
@pytest.mark.parametrize(("model", "d"), MODELS)
def test_points_reproject_where_the_undistorted_camera_says(
    model: str, d: tuple[float, ...], max_image_size: int
) -> None:
    rectifier = Rectifier(
        lens_of(info(distortion_model=model, d=d), is_rectified=False, size=SIZE), max_image_size=max_image_size
    )
    assert max(rectifier.camera.width, rectifier.camera.height) == min(max_image_size, 320)
    num_seen = 0
    for point, pixel in zip(points(), distorted(points(), model, d, K), strict=True):
        expected = rectifier.camera.project(point)
        if not (8 < expected[0] < rectifier.camera.width - 8 and 8 < expected[1] < rectifier.camera.height - 8):
            continue
        num_seen += 1
        seen = centre(rectifier.image(dot(pixel, SIZE)))
        assert np.abs(seen - expected).max() < 0.12
    assert num_seen >= 4


@pytest.mark.parametrize(
    ("binning", "roi"), [((2, 2), (0, 0, 0, 0)), ((0, 0), (40, 20, 240, 200)), ((2, 2), (40, 20, 240, 200))]
)
@pytest.mark.parametrize("d", [(), (-0.28, 0.07, 0.001, -0.0005, 0.0)])
def test_region_and_binning_of_the_sensor_keep_points_in_place(
    d: tuple[float, ...], binning: tuple[int, int], roi: tuple[int, int, int, int]
) -> None:
    described = info(d=d, binning=binning, roi=roi)
    x, y, width, height = roi if roi[2] else (0, 0, *SIZE)
    factor = max(binning[0], 1)
    size = (width // factor, height // factor)
    rectifier = Rectifier(lens_of(described, is_rectified=False, size=size), max_image_size=1000)
    for point, pixel in zip(points(), distorted(points(), "plumb_bob", d, K), strict=True):
        expected = rectifier.camera.project(point)
        if not (8 < expected[0] < size[0] - 8 and 8 < expected[1] < size[1] - 8):
            continue
        full = dot(pixel, SIZE)[y : y + height, x : x + width]
        binned = full.reshape(size[1], factor, size[0], factor, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        assert np.abs(centre(rectifier.image(binned)) - expected).max() < 0.15


@pytest.mark.parametrize(("model", "d"), MODELS)
def test_depth_follows_the_colour_image(model: str, d: tuple[float, ...]) -> None:
    lens = lens_of(info(distortion_model=model, d=d), is_rectified=False, size=SIZE)
    for max_image_size in (1000, 160):
        rectifier = Rectifier(lens, max_image_size=max_image_size)
        rays = lens.rays()
        slanted = (2.0 / (1.0 + 0.2 * rays[..., 0] - 0.1 * rays[..., 1])).astype(np.float32)
        seen = rectifier.camera.unproject(rectifier.depth(slanted))
        off = np.abs(seen @ np.array([0.2, -0.1, 1.0]) - 2.0)
        assert np.isfinite(off).mean() > 0.98
        assert np.nanmax(off) < 0.02


def test_registered_depth_by_remapping_agrees_with_reprojection() -> None:
    lens = lens_of(info(d=(-0.28, 0.07, 0.001, -0.0005, 0.0)), is_rectified=False, size=SIZE)
    rectifier = Rectifier(lens, max_image_size=1000)
    rays = lens.rays()
    depth = (2.0 / (1.0 + 0.2 * rays[..., 0])).astype(np.float32)
    by_points = register_depth(depth, RayMap.of(lens), rectifier.camera, np.eye(4))
    both = np.isfinite(by_points) & np.isfinite(rectifier.depth(depth))
    assert both.mean() > 0.98
    assert np.abs(by_points - rectifier.depth(depth))[both].max() < 0.01


def test_the_undistorted_image_shows_nothing_made_up() -> None:
    for model, d in MODELS:
        lens = lens_of(info(distortion_model=model, d=d), is_rectified=False, size=SIZE)
        rectifier = Rectifier(lens, max_image_size=1000)
        assert np.isfinite(rectifier.depth(np.ones((240, 320), np.float32))).mean() > 0.97


def test_without_distortion_nothing_changes() -> None:
    rectifier = Rectifier(lens_of(info(), is_rectified=False, size=SIZE), max_image_size=1000)
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    assert rectifier.is_identity
    np.testing.assert_array_equal(rectifier.image(image), image)
    assert (rectifier.camera.cx, rectifier.camera.cy) == (163.8, 118.3)  # ROS's principal point and half a pixel


def test_images_that_the_sender_rectified_are_described_by_p() -> None:
    p = (150.0, 0.0, 160.0, -9.0, 0.0, 151.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    described = info(d=(-0.28, 0.07, 0.001, -0.0005, 0.0), p=p)
    lens = lens_of(described, is_rectified=True, size=SIZE)
    assert lens == Lens(width=320, height=240, fx=150.0, fy=151.0, cx=160.0, cy=120.0)


def test_a_resized_lens_sees_along_the_same_rays() -> None:
    lens = lens_of(info(d=(0.12, -0.2, 0.001, -0.002, 0.05)), is_rectified=False, size=SIZE)
    small = lens.resized(160, 120)
    mean = lens.rays().reshape(120, 2, 160, 2, 2).mean(axis=(1, 3))
    assert np.abs(small.rays() - mean).max() * small.fx < 0.02


@pytest.mark.parametrize(
    ("described", "size", "word"),
    [
        (info(k=(0.0,) * 9), SIZE, "no focal length"),
        (info(k=(float("nan"),) * 9), SIZE, "no focal length"),
        (info(distortion_model="magic", d=(0.1, 0.2)), SIZE, "distortion model 'magic'"),
        (info(distortion_model="", d=(0.1, 0.2, 0.0, 0.0)), SIZE, "distortion model ''"),
        (info(d=(0.1, 0.2, 0.3)), SIZE, "3 plumb_bob coefficients"),
        (info(distortion_model="equidistant", d=(0.1,) * 5), SIZE, "5 equidistant"),
        (info(d=(float("nan"),) * 5), SIZE, "finite"),
        (info(), (640, 480), "320x240 pixels but the image has 640x480"),
    ],
)
def test_intrinsics_that_cannot_be_used_are_refused_in_a_sentence(
    described: CameraInfoRecord, size: tuple[int, int], word: str
) -> None:
    with pytest.raises(DecodeError, match=word):
        lens_of(described, is_rectified=False, size=size)


def test_an_image_of_another_size_is_refused() -> None:
    rectifier = Rectifier(lens_of(info(), is_rectified=False, size=SIZE), max_image_size=1000)
    with pytest.raises(DecodeError, match="expected an image of 320x240"):
        rectifier.image(np.zeros((48, 64, 3), np.uint8))
