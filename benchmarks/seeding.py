# SPDX-License-Identifier: Apache-2.0
"""What seeds without a depth sensor are worth: python benchmarks/seeding.py [--quick].

Keyframes of a synthetic room, their depth withheld: as a robot makes them, most of its walls plain. On the live path
each has the keyframes before it, in a refine those after it too. Errors are those of the depth images that seeding
sees, and of the seeds' centres, against exact depth; the measured depth of the same keyframes stands beside them.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from harness import Report, best, copy_bytes_per_s, p50, paired
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.neighbour_depth import NeighbourDepth
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.stereo import NUM_PLANES, NUM_SWEPT, SWEPT_SHARE
from ccl_lgs_ros.geometry import invert_rigid, transform_points
from ccl_lgs_ros.synthetic.scene import make_room_scene

ROOM, FIRST, MOMENTS = 7, 4, 80
CHANNELS = 4  # of what is compared
PATHS = 8  # of the smoothing
MAX_CENTIMETRES = {"live": 8.0, "refine": 5.0}
MIN_SHARE = {"live": 25.0, "refine": 40.0}  # percent
MAX_MS = 500.0  # of a live keyframe


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few small frames: try the script")
    quick = parser.parse_args().quick
    report = Report("seeding", quick=quick)
    given, truth = frames(5 if quick else 16, (160, 120) if quick else (320, 240))
    withheld = [replace(keyframe, depth=None) for keyframe in given]

    live, seconds = NeighbourDepth(depth="auto", holdout_every=0), []
    deepened = []
    for index, keyframe in enumerate(withheld):
        began = time.process_time()  # of all threads, so that other work on the machine is left out
        deepened.append(live.live(keyframe, index))
        seconds.append(time.process_time() - began)
    score(report, "live", deepened, truth)
    source = NeighbourDepth(depth="auto", holdout_every=0).source(withheld)
    began = time.process_time()
    refined = [source[index] for index in range(len(source))]
    of_refine = (time.process_time() - began) / len(source)
    score(report, "refine", refined, truth)
    score(report, "sensor", given, truth)

    floor, note = floor_ms(given[0])
    report.add("a live keyframe, processor time, median", 1e3 * p50(seconds[2:]), "ms", at_most=MAX_MS, floor=floor,
               note=note)  # fmt: skip
    report.add("a keyframe of a refine, processor time, mean", 1e3 * of_refine, "ms", floor=floor, note=note)
    report.details["room"], report.details["keyframes"] = ROOM, len(given)
    report.save()


def frames(count: int, size: tuple[int, int]) -> tuple[list[Keyframe], list[NDArray[np.float32]]]:
    """Keyframes with measured depth, and their exact depth."""
    scene = make_room_scene(ROOM, width=size[0], height=size[1])
    keyframes, truth = [], []
    for index, moment in enumerate(scene.moments(MOMENTS)[FIRST : FIRST + count]):
        frame = scene.frame(float(moment))
        keyframes.append(frame.keyframe(index))
        truth.append(frame.true_depth)
    return keyframes, truth


def score(report: Report, name: str, keyframes: Sequence[Keyframe], truth: Sequence[NDArray[np.float32]]) -> None:
    """Errors of depth images and of seeds, and the share of the pixels that have any depth."""
    of_depth, of_seeds, share = [], [], []
    for keyframe, exact in zip(keyframes, truth, strict=True):
        depth = np.full(exact.shape, np.nan) if keyframe.depth is None else keyframe.depth
        known = np.isfinite(depth)
        share.append(100.0 * known.mean())
        of_depth.append(np.abs(depth - exact)[known])
        of_seeds.append(seed_errors(keyframe, exact))
    seeds = 100.0 * np.concatenate(of_seeds)
    bar = MAX_CENTIMETRES.get(name)
    why = "plain walls tell no depth; coarser planes than a surface's slope" if bar else ""
    report.add(f"{name}: distance of a seed from the surface along z, median", float(np.median(seeds)), "cm",
               at_most=bar, note=why)  # fmt: skip
    report.add(f"{name}: the same, nine of ten within", float(np.percentile(seeds, 90)), "cm")
    report.add(f"{name}: error of depth, median", 100.0 * float(np.median(np.concatenate(of_depth))), "cm")
    report.add(f"{name}: pixels with depth", float(np.mean(share)), "%", at_least=MIN_SHARE.get(name), note=why)


def seed_errors(keyframe: Keyframe, exact: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far [n], in metres along z, the centres of a keyframe's seeds lie from what the pixel under them shows."""
    means = seed_gaussians(keyframe, None).means.numpy().astype(np.float64)
    points = transform_points(invert_rigid(keyframe.world_from_camera), means)
    columns, rows = np.floor(keyframe.camera.project(points)).astype(int).T
    height, width = exact.shape
    return np.abs(points[:, 2] - exact[rows.clip(0, height - 1), columns.clip(0, width - 1)])


def floor_ms(keyframe: Keyframe) -> tuple[float, str]:
    """The least time of a sweep on this machine: its warps by OpenCV, and its volumes read and written once a path."""
    height, width = keyframe.camera.height // SWEPT_SHARE, keyframe.camera.width // SWEPT_SHARE
    image = np.random.default_rng(0).integers(0, 255, (height, width, CHANNELS), np.uint8)
    turn = np.array([[1.0, 0.01, 2.0], [-0.01, 1.0, 1.0], [0.0, 0.0, 1.0]])
    (warp,) = paired(lambda: cv2.warpPerspective(image, turn, (width, height)), rounds=20)
    volume = 2 * height * width * NUM_PLANES  # bytes
    moved = PATHS * 3 * volume / copy_bytes_per_s(64 << 20)
    return 1e3 * (NUM_PLANES * NUM_SWEPT * best(warp) + moved), (
        f"floor: {NUM_PLANES * NUM_SWEPT} warps and {PATHS} paths that read and write {volume >> 20} MB; features, "
        "costs and the chain of each path's rows, some microseconds per numpy call, come on top; next: compile them"
    )


if __name__ == "__main__":
    sys.exit(main())
