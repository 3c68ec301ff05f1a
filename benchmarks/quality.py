# SPDX-License-Identifier: Apache-2.0
"""How well recordings are mapped within a budget: python benchmarks/quality.py DATA [--budget SECONDS] [NAME ...].

DATA is a folder with `bags/`: the recordings below are captured as `ccl-lgs check-bag` suggests, seeded by the live
path's rule, optimised, and scored by the PSNR of keyframes that gave no colour. This takes the budget for each, so it
is no part of `make bench`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from harness import Report

from ccl_lgs_ros.backends import configured_part
from ccl_lgs_ros.capture import capture_bag, check_bag
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.gaussians.optimize import is_held_out, optimized, psnr_report
from ccl_lgs_ros.protocols import no_progress
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Gaussians
from ccl_lgs_ros.working_size import WorkingSize

BUDGET = 300.0  # seconds
# name -> bag, whether the settings that check-bag suggests are taken, the figure that has a bar, the bar in dB
RECORDINGS = {
    "kitchen": ("redkitchen_rgbd_60", True, "psnr", 20.5),
    "shelf": ("label_fusion_rgbd_15", False, "psnr_affine", 16.0),
}


def measure(report: Report, name: str, data: Path, budget: float) -> None:
    """Map one recording and score it."""
    bag, is_tuned, figure, bar = RECORDINGS[name]
    path = data / "bags" / bag
    config = updated(MapConfig(), check_bag(path).settings if is_tuned else {})
    options = config.gaussians
    (rasterizer, _), (densifier, _) = configured_part("rasterizer", config), configured_part("densifier", config)
    with tempfile.TemporaryDirectory() as folder:
        store = KeyframeStore(
            MapDirectory.open_or_create(Path(folder) / "map"),
            writable=True,
            jpeg_quality=config.keyframes.jpeg_quality,
            max_disk_gb=config.keyframes.max_disk_gb,
        )
        capture_bag(path, store, config, no_progress)
        keyframes = WorkingSize(options.image_width).source(store)
        began = time.perf_counter()
        found = optimized(
            Gaussians.empty(options.sh_degree),
            keyframes,
            rasterizer,
            iterations=options.iterations,
            holdout_every=options.holdout_every,
            depth_weight=options.depth_weight,
            ssim_weight=options.ssim_weight,
            seed_stride=options.seed_stride,
            seed_alpha=options.seed_alpha,
            max_gaussians=options.max_gaussians,
            exposure=options.exposure,
            budget=budget,
            densifier=densifier,
            generator=torch.Generator().manual_seed(config.seed),
        )
        seconds = time.perf_counter() - began
        held_out = [index for index in range(len(keyframes)) if is_held_out(index, options.holdout_every)]
        scores = psnr_report(found.gaussians, keyframes, rasterizer, held_out)
        store.close()
    what = f"within {budget:g} s" if budget > 0 else "with the default steps"
    for kind, words in (("psnr", "held-out PSNR"), ("psnr_affine", "held-out PSNR, affine-fitted,")):
        report.add(f"{name}: {words} {what}", scores[kind], "dB", at_least=bar if kind == figure else None)
    report.add(f"{name}: share of the held-out views that is covered", scores["covered"], "")
    report.add(f"{name}: seconds taken", seconds, "s")
    report.add(f"{name}: steps", found.steps, "")
    report.add(f"{name}: Gaussians", len(found.gaussians), "")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(RECORDINGS), help=", ".join(RECORDINGS))
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS", help="0 = the default steps")
    arguments = parser.parse_args()
    report = Report("quality")
    for name in arguments.names:
        measure(report, name, arguments.data, arguments.budget)
    report.save()


if __name__ == "__main__":
    main()
