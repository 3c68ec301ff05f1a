# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/ from a synthetic room: `make gallery`, or this script with a room that is mapped.

    python scripts/make_gallery.py ROOM MAP -o docs/images

ROOM is what `ccl-lgs make-scene` wrote, MAP what `ccl-lgs map` made of it; either is made if it is not there. The
prompts are those of room 1. No picture is larger than MAX_BYTES.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from screenshots import report_page, viewer_page  # noqa: E402

from ccl_lgs_ros.answer_pictures import best_view_picture  # noqa: E402
from ccl_lgs_ros.answers import Answer  # noqa: E402
from ccl_lgs_ros.asking import create_encoder, query_map  # noqa: E402
from ccl_lgs_ros.backends import configured_part  # noqa: E402
from ccl_lgs_ros.boxes_in_pictures import DrawnBox, with_boxes  # noqa: E402
from ccl_lgs_ros.camera import Camera, Keyframe  # noqa: E402
from ccl_lgs_ros.code_map import code_map, segment_map  # noqa: E402
from ccl_lgs_ros.colours import track_colors  # noqa: E402
from ccl_lgs_ros.config import MapConfig  # noqa: E402
from ccl_lgs_ros.floor_plan import FloorPlan  # noqa: E402
from ccl_lgs_ros.gaussians.seed import SH_C0  # noqa: E402
from ccl_lgs_ros.geometry import rigid, rotation_from_quat  # noqa: E402
from ccl_lgs_ros.navigating import find_approaches, surroundings  # noqa: E402
from ccl_lgs_ros.offline import map_recording  # noqa: E402
from ccl_lgs_ros.pictures import Image, beside, captioned, heat, legend, rendered_color, resized  # noqa: E402
from ccl_lgs_ros.scenes import make_scene  # noqa: E402
from ccl_lgs_ros.scoring import evaluate_map  # noqa: E402
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore  # noqa: E402
from ccl_lgs_ros.storage.map_directory import MapDirectory  # noqa: E402
from ccl_lgs_ros.storage.segment_store import SegmentStore  # noqa: E402
from ccl_lgs_ros.storage.snapshot import load  # noqa: E402
from ccl_lgs_ros.structures import NONE, Segments  # noqa: E402
from ccl_lgs_ros.viewing import viewed_from  # noqa: E402

SEED = 1
THING, PAIR, ABSENT = "brown chair", "purple mug next to the turquoise mug", "red vase"
NAMED = ("brown chair", "blue vase", "orange box", "purple mug", "turquoise mug", "yellow ball", "lime green book")
MAX_BYTES, QUALITY = 200_000, 88
PANEL = 400  # pixels: width of a panel
GAP = 6
SCORED_ROWS = 686  # pixels: three rows of the index
VIEWS = 4  # keyframes in a strip
TURN, FARTHER, HIGHER = -0.6, 1.3, 0.25  # from a photo's place to one where none was taken: radians, shares
GREY_SHARE = 0.75  # of the colours around a thing that was found


class Gallery:
    """A map and what its pictures are made from."""

    def __init__(self, path: Path, config: MapConfig, thing: str = THING, room: Path | None = None) -> None:
        self.path, self.room, self.thing, self.config = path, room, thing, config
        directory = MapDirectory.open(path)
        self.map, self.keyframes = load(directory), KeyframeStore(directory)
        self.views = viewed_from(self.keyframes)
        self.encoder = create_encoder(self.map, self.config)
        self.rasterizer, _ = configured_part("rasterizer", self.config)
        cache = next(path.glob("segments/*/identity.txt"))
        self.segments = SegmentStore(path / "segments", identity=cache.read_text())

    def ask(self, prompt: str) -> Answer:
        return query_map(self.map, prompt, self.config, self.encoder, views=self.views)

    @cached_property
    def shown(self) -> Keyframe:
        """The keyframe that most pictures are of: a good view of the thing."""
        return self.keyframes[self.ask(self.thing).instances[0].keyframe_ids[1]]

    @cached_property
    def strip(self) -> list[Keyframe]:
        """Keyframes spread over the drive."""
        places = np.linspace(0, len(self.keyframes) - 1, VIEWS).round().astype(int)
        return [self.keyframes[int(place)] for place in places]

    def segments_of(self, keyframe: Keyframe, level: str) -> Segments:
        found = self.segments.load(keyframe.id)
        assert found is not None, "the map keeps no segments; map it again"
        return found[level]

    def rendered(self, camera: Camera, pose: NDArray[np.float64]) -> Image:
        return rendered_color(self.rasterizer.render(self.map.gaussians, camera, pose).color.numpy())


def panel(image: Image, caption: str) -> Image:
    return captioned(resized(image, PANEL), caption, 14)


def answer(prompt: str) -> Callable[[Gallery], Image]:
    """What `ccl-lgs query --picture` writes."""
    return lambda of: best_view_picture(of.map, of.ask(prompt), of.keyframes, of.config)


def keyframes(of: Gallery) -> Image:
    """The path of the camera in the plan beside some of its keyframes."""
    plan = FloorPlan(surroundings(of.map, of.config).grid, longer_side=480)
    plan.draw_cameras(of.views.world_from_camera)
    photos = [captioned(resized(view.image, 300), f"keyframe {view.id}", 13) for view in of.strip]
    what = f"{len(of.keyframes)} keyframes: where the camera was, and where it looked"
    return beside(captioned(plan.finished(), what, 14), beside(*photos, columns=2, gap=GAP), gap=GAP)


def gaussians(of: Gallery) -> Image:
    """Photo, rendering and its depth."""
    view = of.shown
    seen = of.rasterizer.render(of.map.gaussians, view.camera, view.world_from_camera)
    depth = seen.depth.numpy()
    near, far = np.percentile(depth[depth > 0], (1, 99))
    shades = cv2.applyColorMap((255 - 255 * np.clip((depth - near) / (far - near), 0, 1)).astype(np.uint8), 16)
    count = f"{len(of.map.gaussians):,} Gaussians from there".replace(",", " ")
    return beside(
        panel(view.image, f"photo, keyframe {view.id}"),
        panel(rendered_color(seen.color.numpy()), count),
        panel(cv2.cvtColor(shades, cv2.COLOR_BGR2RGB), f"their depth, {near:.1f} to {far:.1f} m"),
        gap=GAP,
    )


def renderings(of: Gallery) -> Image:
    """Photos above the map from the same places."""
    photos = [captioned(resized(view.image, 320), f"photo, keyframe {view.id}", 13) for view in of.strip]
    drawn = [resized(of.rendered(view.camera, view.world_from_camera), 320) for view in of.strip]
    return beside(*photos, *(captioned(image, "the map from there", 13) for image in drawn), columns=VIEWS, gap=GAP)


def masks(of: Gallery) -> Image:
    """What the segmenter proposes at both levels."""
    shown = [panel(of.shown.image, f"photo, keyframe {of.shown.id}")]
    for level, name in (("sp", "parts (sp)"), ("wp", "wholes (wp)")):
        segments = of.segments_of(of.shown, level)
        shown.append(panel(segment_map(segments.labels.numpy()), f"{len(segments)} segments, {name}"))
    return beside(*shown, gap=GAP)


def features(of: Gallery) -> Image:
    """How relevant each segment's feature is to three prompts."""
    segments, shown = of.segments_of(of.shown, "wp"), []
    for prompt in ("brown", "blue", "white"):
        relevancy = of.encoder.relevancy(segments.features, of.encoder.understand(prompt)).numpy()
        of_pixel = np.append(relevancy, 0.0)[segments.labels.numpy()]
        shown.append(panel(heat(of_pixel, of.shown.image), f'segments, relevancy to "{prompt}"'))
    return beside(*shown, captioned(legend(shown[0].shape[0] - 26, of.encoder.threshold), "", 14), gap=GAP)


def tracks(of: Gallery) -> Image:
    """Segments of several keyframes, each in the colour of the track that most of what it shows belongs to."""
    of_gaussian = of.map.levels["wp"].track_of_gaussian.long()
    above, below = [], []
    for view in of.strip:
        segments = of.segments_of(view, "wp")
        votes = of.rasterizer.vote(of.map.gaussians, view.camera, view.world_from_camera, segments.labels)
        table = torch.zeros(len(segments), int(of_gaussian.max()) + 2)
        table.index_put_((votes.label, of_gaussian[votes.gaussian]), votes.weight, accumulate=True)
        best = table.argmax(dim=1)
        best[best == table.shape[1] - 1] = NONE  # what has no track counted in the last column
        above.append(captioned(resized(view.image, 320), f"photo, keyframe {view.id}", 13))
        colours = segment_map(segments.labels.numpy(), best.numpy())
        below.append(captioned(resized(colours, 320), "its segments, by track", 13))
    return beside(*above, *below, columns=VIEWS, gap=GAP)


def codes(of: Gallery) -> Image:
    """Tracks and their codes at one level."""
    view, level = of.shown, of.map.levels["wp"]
    seen = (of.rasterizer, view.camera, view.world_from_camera)
    used = len(torch.unique(level.entry_of_track))
    return beside(
        panel(view.image, f"photo, keyframe {view.id}"),
        panel(code_map(of.map, "wp", *seen), f"{level.num_tracks} tracks (wp): one thing, one colour"),
        panel(code_map(of.map, "wp", *seen, by="entry"), f"{used} codes: one look, one colour"),
        gap=GAP,
    )


def votes(of: Gallery) -> Image:
    """The track of each Gaussian at both levels, and how sure the votes were."""
    view, level = of.shown, of.map.levels["wp"]
    seen = (of.rasterizer, view.camera, view.world_from_camera)
    share = level.confidence.float()[:, None] / 255.0
    drawn = of.rasterizer.render(of.map.gaussians, view.camera, view.world_from_camera, share)
    sure = (drawn.features[..., 0] / drawn.alpha.clamp_min(0.1)).numpy()
    return beside(
        panel(code_map(of.map, "sp", *seen), "tracks that won, parts (sp)"),
        panel(code_map(of.map, "wp", *seen), "tracks that won, wholes (wp)"),
        panel(heat(sure), "share of the votes that the winner got (wp): red is all"),
        gap=GAP,
    )


def found_in_space(of: Gallery) -> Image:
    """What was found, from a place where no photo was taken: its Gaussians coloured, the others grey."""
    found = of.ask(of.thing)
    item, view = found.instances[0], of.shown
    up = np.asarray(of.map.map_up) / np.linalg.norm(of.map.map_up)
    aside = rotation_from_quat(np.array([np.cos(TURN / 2), *(np.sin(TURN / 2) * up)]))
    away = aside @ (view.world_from_camera[:3, 3] - item.box.center)
    pose = looking_at(item.box.center + FARTHER * away + HIGHER * np.linalg.norm(away) * up, item.box.center, up)
    camera = view.camera.resized(800, 600)
    own = 0.5 + SH_C0 * of.map.gaussians.sh[:, 0]
    grey = own.mean(dim=1, keepdim=True).expand(-1, 3)
    paint = GREY_SHARE * grey + (1 - GREY_SHARE) * own
    paint[item.gaussian_ids] = 0.45 * own[item.gaussian_ids] + 0.55 * torch.tensor([1.0, 0.25, 0.7])
    image = rendered_color(of.rasterizer.render(of.map.gaussians, camera, pose, paint).features.numpy())
    label = f"{of.thing} {item.score:.2f}"
    image = with_boxes(image, [DrawnBox(item.box, label)], camera, pose)
    return captioned(image, f"{len(item.gaussian_ids)} Gaussians of {of.thing}, from where no photo was taken", 16)


def looking_at(eye: NDArray[np.float64], target: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """world_from_camera [4, 4] of a camera at a place that looks at another."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return rigid(np.stack([right, np.cross(forward, right), forward], axis=1), eye)


def boxes(of: Gallery) -> Image:
    """Many things by name, their boxes in photos."""
    drawn, colours = [], (255 * track_colors(np.arange(len(NAMED)))).round().astype(int).tolist()
    for prompt, (red, green, blue) in zip(NAMED, colours, strict=True):
        drawn += [DrawnBox(item.box, prompt, (red, green, blue)) for item in of.ask(prompt).instances]
    shown = []
    for view in of.strip:
        camera = view.camera.resized(640, 480)
        near = [box for box in drawn if _is_in_front(box, camera, view.world_from_camera)]
        image = with_boxes(resized(view.image, 640), near, camera, view.world_from_camera)
        shown.append(captioned(resized(image, 560), f"keyframe {view.id}", 14))
    return beside(*shown, columns=2, gap=GAP)


def _is_in_front(item: DrawnBox, camera: Camera, pose: NDArray[np.float64]) -> bool:
    local = (item.box.center - pose[:3, 3]) @ pose[:3, :3]
    u, v = camera.project(local)
    return bool(local[2] > 0 and 0 <= u < camera.width and 0 <= v < camera.height)


def floor_plan(of: Gallery) -> Image:
    """The grid with the path, a thing and where a robot stands to deal with it."""
    around, found = surroundings(of.map, of.config), of.ask(of.thing)
    plan = FloorPlan(around.grid, longer_side=700)
    plan.draw_cameras(of.views.world_from_camera)
    for item in found.instances:
        plan.draw_box(DrawnBox(item.box, of.thing))
        poses = [approach.world_from_base for approach in find_approaches(item, around, of.config).poses]
        plan.draw_robots(poses, of.config.navigation.robot_radius)
    return plan.finished()


def scored(of: Gallery) -> Image:
    """The index that `evaluate --pictures` writes, its first rows."""
    assert of.room is not None, "only a synthetic room knows the truth"
    with tempfile.TemporaryDirectory() as folder:
        evaluate_map(of.map, of.room / "eval", of.config, pictures=Path(folder) / "scored")
        sheet = cv2.cvtColor(cv2.imread(str(Path(folder) / "scored" / "index.jpg")), cv2.COLOR_BGR2RGB)
    return sheet[:SCORED_ROWS]


def report(of: Gallery) -> Image:
    """The report's first screen."""
    return report_page(of.path, (THING, PAIR, ABSENT))


def viewer(of: Gallery) -> Image:
    """The viewer after a prompt was typed."""
    return viewer_page(of.path, of.thing)


PICTURES: dict[str, Callable[[Gallery], Image]] = {
    "demo": answer(THING),
    "relation": answer(PAIR),
    "absent": answer(ABSENT),
    "renderings": renderings,
    "boxes": boxes,
    "floor_plan": floor_plan,
    "scored": scored,
    "report": report,
    "viewer": viewer,
    "stage_1_keyframes": keyframes,
    "stage_2_gaussians": gaussians,
    "stage_3_masks": masks,
    "stage_4_features": features,
    "stage_5_tracks": tracks,
    "stage_6_codes": codes,
    "stage_7_votes": votes,
    "stage_8_answer": found_in_space,
}


def write_small(path: Path, image: Image, most: int = MAX_BYTES) -> int:
    """Write a JPEG of at most so many bytes; returns its size."""
    for quality in range(QUALITY, 20, -6):
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) <= most:
            break
    path.write_bytes(data.tobytes())
    return len(data)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=Path)
    parser.add_argument("map", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES), help="make these alone")
    chosen = parser.parse_args(arguments)
    if not chosen.room.exists():
        make_scene(SEED, chosen.room)
    if not chosen.map.exists():
        map_recording(chosen.room, chosen.map, MapConfig())
    gallery = Gallery(chosen.map, MapConfig(), room=chosen.room)
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name in chosen.only:
        size = write_small(chosen.output / f"{name}.jpg", PICTURES[name](gallery))
        print(f"{name}.jpg {size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
