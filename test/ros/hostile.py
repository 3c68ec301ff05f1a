# SPDX-License-Identifier: Apache-2.0
"""Messages such as broken drivers and enemies send: every field anything that its type allows."""

from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, TransformStamped
from hypothesis import strategies as st
from nav_msgs.msg import Path
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.ingest.images import COLOUR_ENCODINGS, DEPTH_ENCODINGS

S = 1_000_000_000
GOOD = 1_000 * S
WIDTH, HEIGHT = 32, 24
ODD_FLOATS = [0.0, -1.0, 1e-300, 1e300, -1e38, float("nan"), float("inf"), float("-inf"), 1.0, 30.0]
NAMES = ["camera", "map", "", "/", "//map", "odom", "depth", "x" * 300, "é🤖\n", "../..", "a" * 1_000_000]
UINT32 = st.sampled_from([0, 1, 2, 3, 24, 32, 33, 1000, 2**16, 2**31, 2**32 - 1])
SIDES = st.sampled_from([0, 24, 32]) | UINT32
NUMBERS = st.one_of(st.sampled_from(ODD_FLOATS), st.floats(allow_nan=True, allow_infinity=True))
PIXELS = WIDTH * HEIGHT * 8
BYTES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([bytes(PIXELS), b"\xff" * PIXELS, bytes(range(256)) * (PIXELS // 256), b"\x7f\x80" * PIXELS]),
)


def time_of(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // S, nanosec=stamp_ns % S)


STAMPS = st.one_of(
    st.sampled_from([GOOD, GOOD - S // 100, GOOD + S // 100, GOOD + 3600 * S, 0]).map(time_of),
    st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)),
)
HEADERS = st.builds(Header, stamp=STAMPS, frame_id=st.sampled_from(NAMES))


@st.composite
def almost(draw: Any, numbers: list[float]) -> list[float]:
    """The numbers, some of them replaced by odd ones."""
    changed = list(numbers)
    for place in draw(st.lists(st.integers(0, max(len(numbers) - 1, 0)), max_size=3)):
        if numbers:
            changed[place] = draw(NUMBERS)
    return changed


@st.composite
def transforms(draw: Any) -> TransformStamped:
    message = TransformStamped(header=draw(HEADERS), child_frame_id=draw(st.sampled_from(NAMES)))
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = draw(almost([0.5, 1.0, 2.0]))
    turn.x, turn.y, turn.z, turn.w = draw(almost([0.0, 0.0, 0.0, 1.0]))
    return message


@st.composite
def images(draw: Any) -> Image:
    encodings = (*COLOUR_ENCODINGS, *DEPTH_ENCODINGS, "", "rgb9", "32SC1", "x" * 100_000)
    is_right_size = draw(st.booleans())
    return Image(
        header=draw(HEADERS),
        encoding=draw(st.sampled_from(encodings)),
        width=WIDTH if is_right_size else draw(UINT32),
        height=HEIGHT if is_right_size else draw(UINT32),
        step=draw(st.just(0) | UINT32),
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
        data=draw(BYTES),
    )


@st.composite
def infos(draw: Any) -> CameraInfo:
    message = CameraInfo(header=draw(HEADERS), width=draw(SIDES), height=draw(SIDES))
    message.distortion_model = draw(st.sampled_from(["plumb_bob", "equidistant", "rational_polynomial", "", "odd"]))
    counts = st.sampled_from([0, 4, 5, 8, 12, 14, 3, 10_000])
    message.d = draw(counts.flatmap(lambda count: almost([0.01] * count)))
    message.k = draw(almost([30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0]))
    message.p = draw(almost([30.0, 0.0, 15.5, 0.0, 0.0, 30.0, 11.5, 0.0, 0.0, 0.0, 1.0, 0.0]))
    sizes = st.just(0) | UINT32
    message.binning_x, message.binning_y = draw(sizes), draw(sizes)
    message.roi.x_offset, message.roi.y_offset = draw(sizes), draw(sizes)
    message.roi.width, message.roi.height = draw(sizes), draw(sizes)
    return message


@st.composite
def clouds(draw: Any) -> PointCloud2:
    fields = [
        PointField(
            name=draw(st.sampled_from(["x", "y", "z", "", "rgb"])),
            offset=draw(UINT32),
            datatype=draw(st.integers(0, 255)),
            count=draw(UINT32),
        )
        for _ in range(draw(st.integers(0, 4)))
    ]
    right = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]
    return PointCloud2(
        header=draw(HEADERS),
        fields=draw(st.sampled_from([fields, right])),
        width=draw(UINT32),
        height=draw(UINT32),
        point_step=draw(UINT32 | st.just(12)),
        row_step=draw(UINT32),
        is_bigendian=draw(st.booleans()),
        data=draw(BYTES),
    )


COMPRESSED = st.builds(
    CompressedImage,
    header=HEADERS,
    format=st.sampled_from(["jpeg", "png", "bayer_rggb8; jpeg", "16UC1; compressedDepth png", "32FC1; rvl", "", "gif"]),
    data=BYTES,
)


@st.composite
def poses(draw: Any) -> PoseStamped:
    moved = draw(transforms())
    place = moved.transform.translation
    position = Point(x=place.x, y=place.y, z=place.z)
    return PoseStamped(header=moved.header, pose=Pose(position=position, orientation=moved.transform.rotation))


@st.composite
def paths(draw: Any) -> Path:
    return Path(header=draw(HEADERS), poses=draw(st.lists(poses(), max_size=4)))


TREES = st.lists(transforms(), max_size=3).map(lambda several: TFMessage(transforms=several))
MESSAGES = {  # by the topic that they come on
    "image": images(),
    "image/compressed": COMPRESSED,
    "depth": images(),
    "depth/compressedDepth": COMPRESSED,
    "labels": images(),
    "camera_info": infos(),
    "depth_info": infos(),
    "cloud": clouds(),
    "pose": poses(),
    "corrected_path": paths(),
    "/tf": TREES,
    "/tf_static": TREES,
}
