# SPDX-License-Identifier: Apache-2.0
"""A long mission keeps memory flat: keyframes lie on the disk, caches are bounded. `make soak` drives the long one."""

from pathlib import Path

import pytest
from mission import HEIGHT, OPTIONS, WIDTH, Course, drive, one_round

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory

MAX_SLOPE = 2.0  # MB for 1000 keyframes
SHORT, LONG = 200, 10_000
PIXELS_MB = 1000 * WIDTH * HEIGHT * (3 + 4 + 4) / 1e6  # of 1000 keyframes: colour, depth, labels


def told(course: Course, capsys: pytest.CaptureFixture) -> None:
    with capsys.disabled():
        print(
            f"\n{course.keyframes[-1]} keyframes, {course.num_gaussians} Gaussians: {course.megabytes[-1]:.0f} MB, "
            f"{course.slope:+.2f} MB for 1000 keyframes, at most {MAX_SLOPE}"
        )


def test_the_slope_of_memory_is_found_where_there_is_one() -> None:
    growing = Course(keyframes=list(range(0, 1000, 10)), megabytes=[100 + 0.005 * n for n in range(0, 1000, 10)])
    assert growing.slope == pytest.approx(5.0)
    late = Course(keyframes=list(range(100)), megabytes=[50.0 + min(n, 20) for n in range(100)])
    assert late.slope == pytest.approx(0.0, abs=1e-9)  # what fills at the start is no slope


def test_working_votes_are_bounded_and_told_in_the_map(tmp_path: Path) -> None:
    config = updated(MapConfig(), OPTIONS)
    session = MapSession(config, MapDirectory.create(tmp_path / "map"))
    for keyframe in one_round()[:3]:
        session.add(keyframe)
    row_bytes, count = len(LEVELS) * 8 * (config.field.slots + 1), len(session.gaussians)
    assert count > 100
    told_bytes = session.snapshot().info["vote_bytes"]
    assert isinstance(told_bytes, int)
    assert count * row_bytes <= told_bytes <= 2 * count * row_bytes  # buffers double


def test_memory_stays_flat_over_some_hundred_keyframes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    course = drive(tmp_path, SHORT)
    told(course, capsys)
    assert course.slope < 0.5 * PIXELS_MB  # a short drive tells no more than whether keyframes are held


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_memory_stays_flat_over_ten_thousand_keyframes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    course = drive(tmp_path, LONG)
    told(course, capsys)
    assert course.slope <= MAX_SLOPE
