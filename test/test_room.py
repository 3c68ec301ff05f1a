# SPDX-License-Identifier: Apache-2.0
"""The synthetic room: what is drawn is what is there."""

import colorsys

import numpy as np
import pytest
from scipy.spatial import KDTree

from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.colours import ALIKE, FAMILIES, linear, srgb_bytes
from ccl_lgs_ros.synthetic.layout import furnished_room
from ccl_lgs_ros.synthetic.outlines import distance_to_touch, gap, is_inside, rectangle
from ccl_lgs_ros.synthetic.raycaster import cast
from ccl_lgs_ros.synthetic.scene import Scene, make_room_scene
from ccl_lgs_ros.synthetic.sensor import exposure_at

SEEDS = range(6)
HUE_TOLERANCE = 22.0  # degrees around the paint


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_room_scene(0, width=160, height=120)


def test_skipping_far_shapes_changes_no_pixel(scene: Scene) -> None:
    """The picture that tries only the pixels near a shape equals the one that tries every shape on every pixel."""
    pose = scene.drive.world_from_camera(3.0)
    view = cast(scene.room.shapes, scene.camera, pose)
    v, u = np.mgrid[0:120:7, 0:160:7]
    rays = np.stack([(u + 0.5 - 80) / scene.camera.fx, (v + 0.5 - 60) / scene.camera.fy, np.ones(u.shape)], -1)
    directions = (rays @ pose[:3, :3].T).reshape(-1, 3)
    t = np.stack([shape.hits(pose[:3, 3], directions) for shape in scene.room.shapes])
    assert np.allclose(t.min(0), view.depth[::7, ::7].ravel())
    assert (t.argmin(0) == view.shape[::7, ::7].ravel()).mean() > 0.999


def test_depth_of_one_view_is_where_another_view_sees_the_same_surface(scene: Scene) -> None:
    first, second = scene.frame(10.0), scene.frame(10.2)
    points = transform_points(first.world_from_camera, first.camera.unproject(first.true_depth))
    seen = transform_points(invert_rigid(second.world_from_camera), points)
    pixel = scene.camera.project(seen)
    inside = np.isfinite(pixel).all(-1) & (pixel >= 0).all(-1) & (pixel[..., 0] < 160) & (pixel[..., 1] < 120)
    u, v = np.floor(pixel[inside]).astype(int).T
    agrees = np.abs(second.true_depth[v, u] - seen[inside][:, 2]) < 0.03 * seen[inside][:, 2]
    assert inside.mean() > 0.5
    assert agrees.mean() > 0.9
    assert (second.objects[v, u] == first.objects[inside])[agrees].mean() > 0.97


def test_every_pixel_of_an_object_lies_in_its_box(scene: Scene) -> None:
    for frame in scene.frames(8):
        points = transform_points(frame.world_from_camera, frame.camera.unproject(frame.true_depth))
        for item in scene.room.objects:
            center, rotation, size = item.box
            here = (points[frame.objects == item.id] - center) @ rotation
            assert (np.abs(here) <= size / 2 + 2e-3).all()


def test_parts_belong_to_objects_only(scene: Scene) -> None:
    most_parts = 0
    for frame in scene.frames(5):
        assert ((frame.parts > 0) == (frame.objects > 0)).all()
        most_parts = max(most_parts, frame.parts.max())
    assert most_parts > 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_room_holds_what_it_must(seed: int) -> None:
    room = furnished_room(seed)
    assert 8 <= len(room.objects) <= 12
    assert len(room.families) >= 6
    assert len(room.categories) == len(room.families)  # a colour names one thing only
    assert len(room.categories) < len(room.objects)  # two of a kind
    assert len({item.kind for item in room.objects}) >= 5
    assert [item.id for item in room.objects] == list(range(1, len(room.objects) + 1))
    assert all(len(pair & set(room.families)) <= 1 for pair in ALIKE)


@pytest.mark.parametrize("seed", SEEDS)
def test_things_stand_in_the_room_and_not_in_each_other(seed: int) -> None:
    room = furnished_room(seed)
    walls = rectangle(*(room.size[:2] / 2))
    touching = 0
    for item in room.objects:
        assert is_inside(item.outline, walls)
        for other in room.objects:
            if other.id > item.id and _share_height(item, other):
                apart = gap(item.outline, other.outline)
                assert apart > 0
                touching += apart < 0.004
    stacked = sum(abs(a.z - b.box[0][2] - b.box[2][2] / 2) < 0.004 for a in room.objects for b in room.objects)
    assert touching + stacked > 0


def _share_height(first: object, second: object) -> bool:
    low, high = max(first.z, second.z), min(first.z + first.box[2][2], second.z + second.box[2][2])  # type: ignore[attr-defined]
    return high - low > 0.004


def test_seeds_differ_in_layout_and_the_same_seed_repeats() -> None:
    rooms = [furnished_room(seed) for seed in (0, 1, 0)]
    places = [np.array(sorted((item.x, item.y, item.z) for item in room.objects)) for room in rooms]
    assert places[0].shape != places[1].shape or np.abs(places[0] - places[1]).max() > 0.3
    assert not np.allclose(rooms[0].furniture[0][1], rooms[1].furniture[0][1])
    assert np.array_equal(places[0], places[2])
    assert [i.category for i in rooms[0].objects] == [i.category for i in rooms[2].objects]


def test_the_same_moment_gives_the_same_frame(scene: Scene) -> None:
    again = make_room_scene(0, width=160, height=120)
    first, second = scene.frame(7.5), again.frame(7.5)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.depth, second.depth, equal_nan=True)


def test_colours_keep_their_hue_in_every_light_and_exposure() -> None:
    for seed in (1, 5):
        scene = make_room_scene(seed, width=120, height=90)
        for frame in scene.frames(12):
            for item in scene.room.objects:
                pixels = frame.image[frame.objects == item.id]
                if len(pixels) >= 40:
                    hue, saturation = hue_of(np.median(pixels, axis=0))
                    wanted, _ = hue_of(np.array(FAMILIES[item.family]))
                    off = abs((hue - wanted + 180) % 360 - 180)
                    assert off < HUE_TOLERANCE, (seed, item.category, frame.seconds)
                    assert saturation > 0.3, (seed, item.category, frame.seconds)


def hue_of(srgb: np.ndarray) -> tuple[float, float]:
    hue, _, saturation = colorsys.rgb_to_hls(*(np.asarray(srgb) / 255.0))
    return hue * 360.0, saturation


def test_walls_floor_and_furniture_are_neutral(scene: Scene) -> None:
    for frame in scene.frames(6):
        rest = frame.image[frame.objects == 0].astype(float)
        assert np.quantile(np.ptp(rest, axis=1), 0.95) < 16


def test_exposure_varies_between_frames() -> None:
    gains = [exposure_at(seconds, seed=3) for seconds in np.linspace(0.0, 30.0, 80)]
    assert 1.15 < max(gains) / min(gains) < 1.35


def test_the_robot_drives_at_its_height_past_every_object(scene: Scene) -> None:
    poses = [scene.drive.world_from_camera(s) for s in scene.moments(60)]
    heights = np.array([pose[2, 3] for pose in poses])
    assert np.ptp(heights) < 1e-9
    assert 0.6 <= heights[0] <= 1.2
    places = np.array([pose[:2, 3] for pose in poses])
    assert (np.abs(places) < scene.room.size[:2] / 2 - 0.1).all()
    assert np.hypot(*np.diff(places, axis=0).T).max() < 0.4
    seen = np.zeros(len(scene.room.objects) + 1, dtype=int)
    for frame in scene.frames(40):
        seen += np.bincount(frame.objects.ravel(), minlength=len(seen)) > 40
    assert (seen[1:] >= 2).all()


def test_some_objects_hide_behind_others(scene: Scene) -> None:
    """In some frame an object's box is in view, yet another object covers its middle."""
    hidden = 0
    for frame in scene.frames(30):
        for item in scene.room.objects:
            at = transform_points(invert_rigid(frame.world_from_camera), item.box[0])
            pixel = scene.camera.project(at)
            if np.isfinite(pixel).all() and (pixel >= 0).all() and pixel[0] < 160 and pixel[1] < 120:
                u, v = pixel.astype(int)
                hidden += frame.objects[v, u] not in (0, item.id) and frame.true_depth[v, u] < at[2] - 0.1
    assert hidden > 0


def test_depth_noise_grows_with_distance_and_holes_lie_at_edges(scene: Scene) -> None:
    near, far = [], []
    lost_at_edges, lost_elsewhere = [], []
    for frame in scene.frames(12):
        error, known = np.abs(frame.depth - frame.true_depth), np.isfinite(frame.depth)
        near.append(error[known & (frame.true_depth < 1.3)])
        far.append(error[known & (frame.true_depth > 2.6)])
        edge = np.zeros(known.shape, dtype=bool)
        edge[:, 1:] = np.abs(np.diff(frame.true_depth, axis=1)) > 0.3
        lost_at_edges.append(~known[edge])
        lost_elsewhere.append(~known[~edge])
    near_error, far_error = np.median(np.concatenate(near)), np.median(np.concatenate(far))
    assert near_error < 0.004
    assert far_error > 3 * near_error
    assert np.concatenate(lost_at_edges).mean() > 0.3 > 0.1 > np.concatenate(lost_elsewhere).mean()


def test_absent_prompts_name_colours_that_the_room_lacks() -> None:
    for seed in SEEDS:
        scene = make_room_scene(seed, width=32, height=24, path="orbit")
        absent = scene.absent_prompts()
        assert absent
        alike = {name for pair in ALIKE if pair & set(scene.room.families) for name in pair}
        for prompt in absent:
            family = next(name for name in sorted(FAMILIES, key=len, reverse=True) if prompt.startswith(name))
            assert family not in scene.room.families
            assert family not in alike


def test_centroids_lie_in_their_boxes_and_a_ball_has_its_centre(scene: Scene) -> None:
    for item in scene.room.objects:
        center, rotation, size = item.box
        assert (np.abs((item.centroid - center) @ rotation) < size / 2).all()
        if item.kind == "ball":
            assert np.linalg.norm(item.centroid - center) < 0.002


def test_outlines_touch_where_they_are_told_to() -> None:
    fixed, moving = rectangle(1.0, 1.0), rectangle(0.5, 0.5)
    far = distance_to_touch(moving, fixed, np.array([1.0, 0.0]), 5.0, 0.001)
    assert far == pytest.approx(1.501, abs=1e-4)
    assert gap(moving + np.array([far, 0.0]), fixed) == pytest.approx(0.001, abs=1e-4)


def test_light_survives_its_way_to_bytes_and_back() -> None:
    for colour in FAMILIES.values():
        assert srgb_bytes(linear(colour)).tolist() == list(colour)


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(ValueError, match="drive"):
        make_room_scene(0, path="teleport")


def test_an_orbit_looks_at_the_middle_of_the_room() -> None:
    scene = make_room_scene(1, width=32, height=24, path="orbit")
    for seconds in scene.moments(12):
        pose = scene.drive.world_from_camera(seconds)
        assert -pose[:2, 3] @ pose[:2, 2] > 0


def test_a_camera_of_any_size_sees_the_same_room() -> None:
    small, large = (make_room_scene(2, width=w, height=h, path="orbit") for w, h in ((80, 60), (160, 120)))
    first, second = small.frame(4.0).true_depth, large.frame(4.0).true_depth
    assert np.median(np.abs(first - second[::2, ::2])) < 0.05


def test_rooms_that_figures_were_published_for_stay_as_they_are() -> None:
    places = [
        (item.category, round(item.x, 2), round(item.y, 2), round(item.z, 2)) for item in furnished_room(1).objects
    ]
    assert places[2:5] == [
        ("red lamp", 0.11, -2.38, 0.74),
        ("purple bucket", 2.07, -2.26, 0.0),
        ("blue box", -2.41, 0.22, 0.12),
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_twins_can_be_made_to_touch(seed: int) -> None:
    room = furnished_room(seed, twins_touch=True)
    twins = [(a, b) for a in room.objects for b in room.objects if a.id < b.id and a.category == b.category]
    assert twins
    for first, second in twins:
        apart = KDTree(first.surface[::4]).query(second.surface[::4])[0].min()
        assert first.z == second.z
        assert 0 < gap(first.outline, second.outline) < 0.004
        assert apart < 0.01  # metres: surfaces, not only outlines, and both are samples


def test_parts_of_an_object_share_its_surface_and_lie_where_they_were_made(scene: Scene) -> None:
    for item in scene.room.objects:
        surfaces = {name: item.part_surface(name) for name in item.part_names}
        assert sum(map(len, surfaces.values())) == len(item.surface)
        for name, surface in surfaces.items():
            thing_from_world = invert_rigid(item.world_from_thing)
            boxes = [part.corners for part in item.parts if part.name == name]
            local = transform_points(thing_from_world, surface)
            within = [((local > box.min(0) - 1e-4) & (local < box.max(0) + 1e-4)).all(1) for box in boxes]
            assert np.any(within, axis=0).all(), (item.category, name)


def test_the_handle_of_a_mug_stands_out_of_its_wall() -> None:
    item = next(item for item in furnished_room(1).objects if item.kind == "mug")
    handle, wall = item.part_surface("handle"), item.part_surface("wall")
    axis = np.array([item.x, item.y])
    assert np.median(np.hypot(*(handle[:, :2] - axis).T)) > np.quantile(np.hypot(*(wall[:, :2] - axis).T), 0.99)


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_can_have_the_colour_of_another_thing(seed: int) -> None:
    plain, painted = furnished_room(seed), furnished_room(seed, two_tone=True)
    has_one = {"mug", "box", "chair", "stool", "lamp", "vase", "bucket"}
    for before, item in zip(plain.objects, painted.objects, strict=True):
        assert (item.kind, item.x, item.y, item.yaw) == (before.kind, before.x, before.y, before.yaw)
        own = [name for name in item.part_names if item.family_of(name)]
        assert len(own) == (item.kind in has_one)
        for name in own:
            assert item.family_of(name) in set(painted.families) - {item.family}
            assert len(item.part_surface(name)) > 100


def test_cushions_lie_on_seats_and_bands_run_around() -> None:
    items = [item for seed in SEEDS for item in furnished_room(seed, two_tone=True).objects]
    lamp = next(item for item in items if item.kind == "lamp")
    band, shade = (np.ptp(lamp.part_surface(name), axis=0) for name in ("band", "shade"))
    assert 0.2 * shade[2] < band[2] < 0.5 * shade[2]
    stool = next(
        item for seed in range(30) for item in furnished_room(seed, two_tone=True).objects if item.kind == "stool"
    )
    cushion, seat = stool.part_surface("cushion"), stool.part_surface("seat")
    assert cushion[:, 2].min() > seat[:, 2].max() - 0.002
    assert np.ptp(cushion[:, 0]) < np.ptp(seat[:, 0])
