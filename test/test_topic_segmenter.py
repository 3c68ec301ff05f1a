# SPDX-License-Identifier: Apache-2.0
"""Label images of a simulator or a detector, from the message to the masks of a keyframe."""

import json
import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from capture_records import MS, SIZE, START, ListStore, S, drive, in_order, info
from ros_bags import image, messages_of, write_bag

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.capture import Capture, capture_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import BagError, DecodeError, MapError
from ccl_lgs_ros.ingest.labels import LABEL_TYPES, decode_labels
from ccl_lgs_ros.ingest.records import LabelRecord, Record
from ccl_lgs_ros.ingest.rectify import Rectifier, lens_of
from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.offline import map_recording
from ccl_lgs_ros.perception.topic_segmenter import TopicSegmenter
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.recollection import Recollection
from ccl_lgs_ros.registry import names
from ccl_lgs_ros.scenes import LABELS, make_scene
from ccl_lgs_ros.semantics import associate
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory

TWO_THINGS = np.array([[0, 7, 7, 0], [3, 3, 7, 0], [3, 0, 0, 7]], np.int32)  # the second is in two pieces


def record(values: np.ndarray, sent_as: str, **changes: object) -> LabelRecord:
    pixels = values.astype(LABEL_TYPES.get(sent_as, np.uint8))
    fields = {
        "stamp_ns": START,
        "frame_id": "camera",
        "encoding": sent_as,
        "width": values.shape[1],
        "height": values.shape[0],
        "step": pixels.strides[0],
        "data": pixels.tobytes(),
        **changes,
    }
    return LabelRecord(**fields)  # type: ignore[arg-type]


def keyframe(labels: np.ndarray | None) -> Keyframe:
    height, width = TWO_THINGS.shape
    return Keyframe(
        id=0,
        stamp_ns=1,
        camera=Camera(width=width, height=height, fx=4.0, fy=4.0, cx=2.0, cy=1.5),
        world_from_camera=np.eye(4),
        image=np.zeros((height, width, 3), np.uint8),
        labels=labels,
    )


class TestDecoding:
    @pytest.mark.parametrize("encoding", list(LABEL_TYPES))
    def test_every_encoding_of_one_channel_is_read(self, encoding: str) -> None:
        assert np.array_equal(decode_labels(record(TWO_THINGS, encoding)), TWO_THINGS)

    def test_rows_may_be_padded_and_bytes_swapped(self) -> None:
        rows = np.zeros((3, 6), ">u2")
        rows[:, :4] = 300 + TWO_THINGS
        sent = record(TWO_THINGS, "16UC1", step=12, data=rows.tobytes(), is_bigendian=True)
        assert np.array_equal(decode_labels(sent), 300 + TWO_THINGS)

    def test_compressed_labels_are_read_from_png_and_refused_as_jpeg(self) -> None:
        sent = {"is_compressed": True, "encoding": "", "width": 0, "height": 0}
        png = cv2.imencode(".png", (TWO_THINGS + 40000).astype(np.uint16))[1].tobytes()
        assert np.array_equal(decode_labels(record(TWO_THINGS, "", data=png, format="png", **sent)), TWO_THINGS + 40000)
        with pytest.raises(DecodeError, match="destroyed"):
            decode_labels(record(TWO_THINGS, "", data=png, format="jpeg", **sent))

    def test_negative_values_are_nothing(self) -> None:
        assert decode_labels(record(np.array([[-1, 0, 5]]), "32SC1")).tolist() == [[0, 0, 5]]

    def test_values_beyond_16_bits_are_renumbered_without_losing_one(self) -> None:
        values = np.array([[0, 2_000_000_000, 70_000], [70_000, 9, -3]])
        assert decode_labels(record(values, "32SC1")).tolist() == [[0, 3, 2], [2, 1, 0]]
        assert decode_labels(record(values[:1, 1:], "32SC1")).tolist() == [[2, 1]]  # 0 stays nothing

    def test_colour_is_no_label_image(self) -> None:
        with pytest.raises(DecodeError, match=r"one value per pixel .*got rgb8"):
            decode_labels(record(TWO_THINGS, "rgb8"))


class TestUndistortion:
    def test_labels_are_never_mixed(self) -> None:
        """Between 10 and 200 a mean would be anything else; the lens moves pixels, so that a mean would occur."""
        values = np.where(np.arange(SIZE[0]) < SIZE[0] // 2, 10, 200)[None].repeat(SIZE[1], axis=0).astype(np.int32)
        lens = lens_of(info(d=(-0.3, 0.1, 0.0, 0.0, 0.0)), is_rectified=False, size=SIZE)
        for rectifier in (Rectifier(lens, max_image_size=1280), Rectifier(lens, max_image_size=20)):
            seen = rectifier.labels(values)
            assert seen.dtype == np.int32 and set(np.unique(seen)) == {10, 200}
            assert seen.shape == (rectifier.camera.height, rectifier.camera.width)

    def test_labels_of_half_the_size_are_enlarged_pixel_by_pixel(self) -> None:
        rectifier = Rectifier(lens_of(info(), is_rectified=False, size=SIZE), max_image_size=1280)
        half = np.arange(SIZE[0] * SIZE[1] // 4, dtype=np.int32).reshape(SIZE[1] // 2, SIZE[0] // 2)
        assert np.array_equal(rectifier.labels(half), half.repeat(2, axis=0).repeat(2, axis=1))


def labelled_drive(**changes: object) -> dict[str, list[Record]]:
    """The drive with a label image 5 ms after every colour image but each seventh; its only value counts the images."""
    topics = drive()
    stamps = [r.stamp_ns for r in topics["colour"]]
    values = [np.full(SIZE[::-1], 1 + i) for i in range(len(stamps))]
    topics["labels"] = [
        record(value, "16UC1", stamp_ns=stamp + 5 * MS, **changes)
        for i, (stamp, value) in enumerate(zip(stamps, values, strict=True))
        if i % 7 != 6
    ]
    return topics


def captured(topics: dict[str, list[Record]], **changes: object) -> tuple[Capture, ListStore]:
    store = ListStore()
    made = Capture(updated(MapConfig(), changes), store, use_labels=True)
    for one in in_order(topics):
        made.add(one)
        made.poll()
    made.finish()
    return made, store


class TestCapture:
    def test_keyframes_carry_the_labels_of_their_stamp(self) -> None:
        made, store = captured(labelled_drive(), **{"ingest.use_depth": False})
        stamps = [r.stamp_ns for r in drive()["colour"]]
        assert len(store) > 10
        for kept in store:
            assert kept.labels is not None
            assert np.unique(kept.labels).tolist() == [1 + stamps.index(kept.stamp_ns)]
        assert not any(stamps.index(kept.stamp_ns) % 7 == 6 for kept in store)
        assert "the nearest label image is" in made.drops.first["sync"]

    def test_the_order_in_which_topics_interleave_changes_nothing(self) -> None:
        topics = labelled_drive()
        late = in_order(topics, {"labels": S // 5})
        store = ListStore()
        made = Capture(MapConfig(), store, use_labels=True)
        for one in late:
            made.add(one)
            made.poll()
        made.finish()
        expected = captured(topics)[1]
        assert [k.stamp_ns for k in store] == [k.stamp_ns for k in expected]
        assert all(np.array_equal(a.labels, b.labels) for a, b in zip(store, expected, strict=True))

    def test_without_a_label_topic_labels_are_not_waited_for(self) -> None:
        store = ListStore()
        made = Capture(MapConfig(), store)
        for one in in_order(labelled_drive()):
            made.add(one)
            made.poll()
        made.finish()
        assert len(store) > 10 and all(kept.labels is None for kept in store)

    def test_a_missing_label_topic_is_what_the_status_says(self) -> None:
        made, store = captured({name: records for name, records in labelled_drive().items() if name != "labels"})
        assert len(store) == 0
        assert "no label image; correct label_topic" in made.status_text

    def test_labels_that_cannot_be_read_are_counted(self) -> None:
        made, store = captured(labelled_drive(encoding="rgb8"))
        assert len(store) == 0 and made.counts["format"] > 10
        assert "a label image cannot be read" in made.drops.first["format"]

    def test_labels_of_another_shape_are_refused(self) -> None:
        made, store = captured(labelled_drive(width=16, height=24, step=32))
        assert len(store) == 0
        assert "labels of 16x24 has another shape" in made.drops.first["format"]


class TestRecording:
    def bag(self, folder: Path) -> Path:
        topics = labelled_drive()
        messages = messages_of(in_order({name: records for name, records in topics.items() if name != "labels"}))
        labels = [("/detector/labels", r.stamp_ns, image(r)) for r in topics["labels"]]
        return write_bag(folder, sorted(messages + labels, key=lambda sent: sent[1]))

    def test_a_recording_gives_the_keyframes_of_the_live_path(self, tmp_path: Path) -> None:
        store = ListStore()
        capture_bag(self.bag(tmp_path / "bag"), store, MapConfig(), label_topic="/detector/labels")
        expected = captured(labelled_drive())[1]
        assert [k.stamp_ns for k in store] == [k.stamp_ns for k in expected]
        assert all(np.array_equal(a.labels, b.labels) for a, b in zip(store, expected, strict=True))

    def test_a_topic_that_is_not_there_is_answered_with_those_that_are(self, tmp_path: Path) -> None:
        bag = self.bag(tmp_path / "bag")
        with pytest.raises(BagError, match=r"/detector/label .*did you mean /detector/labels\?.*--label-topic"):
            capture_bag(bag, ListStore(), MapConfig(), label_topic="/detector/label")
        with pytest.raises(BagError, match="--label-topic takes sensor_msgs/msg/Image"):
            capture_bag(bag, ListStore(), MapConfig(), label_topic="/tf")

    def test_the_topic_segmenter_without_a_topic_stops_before_anything_is_made(self, tmp_path: Path) -> None:
        config = updated(MapConfig(), {"perception.segmenter": "topic"})
        with pytest.raises(BagError, match=r"add --label-topic.*/detector/labels"):
            map_recording(self.bag(tmp_path / "bag"), tmp_path / "map", config)
        assert not (tmp_path / "map").exists()


class TestStore:
    def test_labels_come_back_exactly(self, tmp_path: Path) -> None:
        values = TWO_THINGS.copy()
        values[0, 0] = 65535
        directory = MapDirectory.create(tmp_path / "map")
        with KeyframeStore(directory, writable=True) as store:
            store.append(keyframe(values))
            store.append(replace(keyframe(None), stamp_ns=2))
            on_disk = sum(p.stat().st_size for folder in ("images", "labels") for p in (store.path / folder).iterdir())
            assert store.num_bytes == on_disk
        found = KeyframeStore(directory)
        assert found[0].labels is not None and found[0].labels.dtype == np.int32
        assert np.array_equal(found[0].labels, values)
        assert found[1].labels is None
        frames = json.loads((directory.keyframes_path / "transforms.json").read_text())["frames"]
        assert frames[0]["label_file_path"] == "labels/000000.png" and "label_file_path" not in frames[1]

    def test_labels_that_16_bits_cannot_hold_are_refused_and_leave_nothing(self, tmp_path: Path) -> None:
        with KeyframeStore(MapDirectory.create(tmp_path / "map"), writable=True) as store:
            for wrong in (65536, -1):
                with pytest.raises(MapError, match="expected 0 to 65535"):
                    store.append(keyframe(np.full(TWO_THINGS.shape, wrong, np.int32)))
            assert len(store) == 0 and store.append(keyframe(TWO_THINGS))

    def test_labels_of_another_size_or_type_are_no_keyframe(self) -> None:
        for wrong in (TWO_THINGS[:2], TWO_THINGS.astype(np.int64)):
            with pytest.raises(ValueError, match="labels: expected int32"):
                keyframe(wrong)


class TestSegmenter:
    def test_each_value_above_zero_is_one_mask_however_many_pieces_it_has(self) -> None:
        proposals = TopicSegmenter().propose(keyframe(TWO_THINGS))
        assert proposals.masks.tolist() == [(TWO_THINGS == 3).tolist(), (TWO_THINGS == 7).tolist()]
        assert proposals.predicted_iou.tolist() == proposals.stability.tolist() == [1.0, 1.0]

    @pytest.mark.parametrize("level", ["sp", "wp"])
    def test_both_levels_have_what_was_sent(self, level: str) -> None:
        proposals = TopicSegmenter().propose(keyframe(TWO_THINGS))
        labels, quality = label_map(proposals, level, min_area_px=1, min_quality=0.3, max_overlap=0.8)
        thing_of_segment = np.array([np.bincount(TWO_THINGS[labels.numpy() == s]).argmax() for s in (0, 1)] + [0])
        assert np.array_equal(thing_of_segment[labels.numpy()], TWO_THINGS)
        assert quality.tolist() == [1.0, 1.0]

    def test_keyframes_without_labels_show_nothing_and_say_so_once(self, caplog: pytest.LogCaptureFixture) -> None:
        segmenter = TopicSegmenter()
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert segmenter.propose(keyframe(None)).masks.shape == (0, *TWO_THINGS.shape)
        assert [r.levelname for r in caplog.records] == ["WARNING"] and "label_topic" in caplog.text

    def test_labels_without_a_thing_show_nothing_and_say_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        assert len(TopicSegmenter().propose(keyframe(np.zeros_like(TWO_THINGS))).masks) == 0
        assert not caplog.records

    def test_it_is_never_what_auto_takes(self) -> None:
        parts = names("segmenter")
        assert parts.index("builtin") < parts.index("topic")  # and builtin works everywhere


def test_a_room_mapped_from_its_true_labels_has_one_track_per_object(tmp_path: Path) -> None:
    make_scene(1, tmp_path / "room", num_frames=8, width=96, height=72, path="orbit")
    changes = {"perception.segmenter": "topic", "perception.encoder": "builtin", "masks.min_area_px": 20}
    config = updated(MapConfig(), changes)
    directory = MapDirectory.create(tmp_path / "map")
    with KeyframeStore(directory, writable=True) as store:
        capture_bag(tmp_path / "room" / "bag", store, config, label_topic=LABELS)
        session = MapSession(config, directory)
        session.catch_up(store)
        seen = Recollection(
            keyframes=store, perceiver=session.perceiver, working_size=session.working_size, count=len(store)
        )
        _, tables = associate(session.gaussians, seen, session.parts, config)
        for level in ("sp", "wp"):
            objects_of_track, tracks_of_object = defaultdict(set), defaultdict(set)
            for row, thing in enumerate(_things(store, session, level)):
                track = int(tables[level].track[row])
                objects_of_track[track].add(thing)
                tracks_of_object[thing].add(track)
            assert len(tracks_of_object) >= 5
            assert all(len(things) == 1 for things in objects_of_track.values())
            assert all(len(tracks) == 1 for tracks in tracks_of_object.values())


def _things(store: KeyframeStore, session: MapSession, level: str) -> list[int]:
    """The object of each segment of all keyframes, in the order of the segment table."""
    things = []
    for index in range(len(store)):
        kept = store[index]
        assert kept.labels is not None
        segments = session.perceiver.segments(kept)[level]
        for segment in range(len(segments)):
            (thing,) = torch.from_numpy(kept.labels)[segments.labels == segment].unique().tolist()
            things.append(thing)
    return things
