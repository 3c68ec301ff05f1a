# SPDX-License-Identifier: Apache-2.0
"""Regions without weights: on drawn scenes whose regions are known."""

import cv2
import numpy as np
import pytest
import torch
from rosbags.highlevel import AnyReader

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.masks.levels import label_map
from ccl_lgs_ros.options import MaskOptions
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.perception.builtin_segmenter import BuiltinSegmenter
from ccl_lgs_ros.perception.region_merging import Partition, merge_regions

HEIGHT, WIDTH = 240, 320
BOX = np.zeros((HEIGHT, WIDTH), bool)
BOX[90:170, 60:150] = True
BALL = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([120, 230])[:, None, None])) < 45


def keyframe(image, depth=None):
    height, width = image.shape[:2]
    camera = Camera(width=width, height=height, fx=300, fy=300, cx=width / 2, cy=height / 2)
    return Keyframe(id=0, stamp_ns=0, camera=camera, world_from_camera=np.eye(4), image=image, depth=depth)


def scene(box=(190, 30, 35), ball=(30, 95, 215), wall=(205, 203, 199), noise=3.0):
    """A box and a ball before a wall, with noise."""
    image = np.full((HEIGHT, WIDTH, 3), wall, float)
    image[BOX], image[BALL] = box, ball
    return np.clip(image + np.random.default_rng(0).normal(0.0, noise, image.shape), 0, 255).astype(np.uint8)


def segments_of(image, level="wp", depth=None):
    options = MaskOptions()
    labels, _ = label_map(
        BuiltinSegmenter().propose(keyframe(image, depth)),
        level,
        min_area_px=options.min_area_px,
        min_quality=options.min_quality,
        max_overlap=options.max_overlap,
    )
    return labels.numpy()


def best_iou(labels, truth):
    ious = [((labels == n) & truth).sum() / ((labels == n) | truth).sum() for n in range(labels.max() + 1)]
    return max(ious, default=0.0)


@pytest.mark.parametrize("level", LEVELS)
def test_things_of_one_colour_are_found(level):
    labels = segments_of(scene(), level)
    assert best_iou(labels, BOX) > 0.95 and best_iou(labels, BALL) > 0.9


def test_shading_does_not_divide_a_surface():
    light = np.linspace(0.45, 1.1, WIDTH)[None, :, None]
    labels = segments_of(np.clip(scene(noise=0.0) * light, 0, 255).astype(np.uint8))
    assert best_iou(labels, BOX) > 0.9 and best_iou(labels, BALL) > 0.85


def test_a_highlight_does_not_hide_a_thing():
    image = scene()
    image[BALL & (np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([105, 215])[:, None, None])) < 8)] = 255
    assert best_iou(segments_of(image), BALL) > 0.85


def test_jpeg_noise_does_not_hide_a_thing():
    _, data = cv2.imencode(".jpg", scene(noise=6.0), [cv2.IMWRITE_JPEG_QUALITY, 40])
    labels = segments_of(cv2.imdecode(data, cv2.IMREAD_COLOR))
    assert best_iou(labels, BOX) > 0.9 and best_iou(labels, BALL) > 0.85


def depth_of_box():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[BOX] = 1.5
    return depth


def test_a_step_in_depth_divides_what_has_one_colour():
    image = scene(box=(205, 203, 199))
    assert best_iou(segments_of(image), BOX) < 0.5
    assert best_iou(segments_of(image, depth=depth_of_box()), BOX) > 0.9


def test_holes_in_depth_divide_nothing():
    depth = depth_of_box()
    depth[np.random.default_rng(0).random(depth.shape) < 0.7] = np.nan
    assert best_iou(segments_of(scene(), depth=depth), BOX) > 0.9
    unknown = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    assert np.array_equal(segments_of(scene(), depth=unknown), segments_of(scene()))


def test_a_slanted_surface_has_no_step():
    depth = np.repeat(np.linspace(1.0, 4.0, HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1)
    labels = segments_of(scene(), depth=depth)
    assert best_iou(labels, BOX) > 0.9 and best_iou(labels, ~(BOX | BALL)) > 0.9


def test_specks_are_no_segments():
    image = scene()
    image[20:25, 20:25] = (30, 200, 60)
    labels = segments_of(image)
    assert labels[22, 22] in (-1, labels[40, 40])


@pytest.mark.parametrize("size", [(480, 640), (240, 320), (97, 131), (24, 40), (3, 3), (1, 1)])
def test_proposals_have_the_images_size_and_cover_each_pixel_at_most_once(size):
    image = cv2.resize(scene(), size[::-1])
    proposals = BuiltinSegmenter().propose(keyframe(image))
    assert proposals.masks.shape[1:] == size and proposals.masks.dtype == torch.bool
    for granularity in proposals.granularity.unique():
        assert int(proposals.masks[proposals.granularity == granularity].sum(dim=0).max()) <= 1
    for belief in (proposals.predicted_iou, proposals.stability):
        assert bool(((belief >= 0) & (belief <= 1)).all())


def test_the_coarse_scale_has_no_more_regions_than_the_fine_one():
    granularity = BuiltinSegmenter().propose(keyframe(scene(noise=10.0))).granularity
    assert set(granularity.tolist()) == {0, 2}
    assert (granularity == 2).sum() <= (granularity == 0).sum()


def test_the_same_image_gives_the_same_masks():
    first, second = (BuiltinSegmenter().propose(keyframe(scene())) for _ in range(2))
    assert torch.equal(first.masks, second.masks) and torch.equal(first.predicted_iou, second.predicted_iou)


def test_a_clear_outline_is_believed_more_than_a_faint_one():
    def belief(box):
        proposals = BuiltinSegmenter().propose(keyframe(scene(box=box, noise=0.0)))
        overlap = (proposals.masks & torch.from_numpy(BOX)).flatten(1).sum(1) / proposals.masks.flatten(1).sum(1)
        return float(proposals.predicted_iou[overlap > 0.9].max())

    assert belief((190, 30, 35)) > belief((120, 120, 118))


def test_a_uniform_image_is_one_region():
    proposals = BuiltinSegmenter().propose(keyframe(np.full((HEIGHT, WIDTH, 3), 128, np.uint8)))
    assert [int(mask.sum()) for mask in proposals.masks] == [HEIGHT * WIDTH] * 2


def strip(*values):
    """A row of superpixels, six pixels wide each, of these lightnesses."""
    labels = np.repeat(np.arange(len(values)), 6)[None].repeat(6, axis=0)
    appearance = np.zeros((*labels.shape, 3), np.float32)
    appearance[..., 0] = np.asarray(values)[labels]
    return Partition.of(labels, appearance, np.zeros(labels.shape, np.float32))


def test_the_most_similar_neighbours_merge_first():
    (regions,) = merge_regions(strip(0, 1, 40, 42, 41), [5.0], 0)
    assert regions.region_of_superpixel.tolist() == [0, 0, 1, 1, 1]
    assert regions.area.tolist() == [72, 108]


def test_a_higher_limit_merges_more():
    strict, loose = merge_regions(strip(0, 10, 40), [1.0, 15.0], 0)
    assert len(strict.area) == 3 and loose.region_of_superpixel.tolist() == [0, 0, 1]
    assert len(merge_regions(strip(0, 10, 40), [1e6], 0)[0].area) == 1


def test_a_barrier_keeps_equal_neighbours_apart():
    barrier = np.zeros((6, 12), np.float32)
    barrier[:, 6] = 100.0
    labels = np.repeat(np.arange(2), 6)[None].repeat(6, axis=0)
    partition = Partition.of(labels, np.zeros((6, 12, 3), np.float32), barrier)
    assert len(merge_regions(partition, [50.0], 0)[0].area) == 2


@pytest.mark.data
def test_the_box_on_the_shelf_is_found_by_its_colour(shared_data):
    images, truths = _shelf(shared_data / "bags" / "label_fusion_rgbd_15")
    encoder, ious = BuiltinEncoder(), []
    for image, truth in zip(images[::4], truths[::4], strict=True):
        labels = segments_of(image, "sp")
        features = encoder.encode_segments(image, torch.from_numpy(labels), int(labels.max()) + 1)
        score = encoder.relevancy(features, encoder.understand("light blue box")).numpy()
        found = np.isin(labels, np.flatnonzero(score > 0.5))
        ious.append((found & truth).sum() / (found | truth).sum())
    assert np.mean(ious) > 0.6


def _shelf(recording):
    images, truths = [], []
    with AnyReader([recording]) as bag:
        for connection, _, raw in bag.messages():
            if connection.topic.endswith("compressed"):
                data = np.frombuffer(bag.deserialize(raw, connection.msgtype).data, np.uint8)
                images.append(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
            elif connection.topic.endswith("segm"):
                message = bag.deserialize(raw, connection.msgtype)
                truths.append(np.frombuffer(message.data, np.uint8).reshape(message.height, message.width) == 132)
    return images, truths
