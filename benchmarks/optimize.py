# SPDX-License-Identifier: Apache-2.0
"""How good a map an optimisation makes of its time: python benchmarks/optimize.py [--quick].

A synthetic room is seeded and optimised; every eighth keyframe is held out and scored (PSNR). What is measured: the
bar of quality at the default number of steps; the same within budgets of time, which must rise with them; how much one
step costs beside drawing alone, and how much of it updating the visible rows saves; and that a map that was optimised
before takes in new keyframes for a part of the time that starting over takes. `quality.py` scores recordings.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from harness import Report, best, copy_bytes_per_s, paired

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.losses import colour_loss, ssim
from ccl_lgs_ros.gaussians.optimize import Optimized, is_held_out, optimized, psnr_report
from ccl_lgs_ros.gaussians.parameters import Parameters
from ccl_lgs_ros.gaussians.trainer import Losses, Trainer
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import Gaussians
from ccl_lgs_ros.synthetic.scene import make_room_scene

BAR_DB = 26.0  # held out, in synthetic rooms
BUDGETS = (5.0, 15.0)  # seconds
NEW = 4  # keyframes that come after the first optimisation
MAP_SIZE = 500_000  # Gaussians of a large map, of which a view shows some
VISIBLE = 20_000
RASTERIZER = NumbaRasterizer()


def room(count: int, width: int) -> list[Keyframe]:
    """A drive through a synthetic room."""
    return [
        frame.keyframe(index)
        for index, frame in enumerate(make_room_scene(3, width=width, height=width * 3 // 4).frames(count))
    ]


def made(keyframes: Sequence[Keyframe], start: Gaussians | None = None, **options) -> Optimized:
    """The keyframes optimised, with the defaults."""
    return optimized(
        start or Gaussians.empty(),
        keyframes,
        RASTERIZER,
        generator=torch.Generator().manual_seed(0),
        **options,
    )


def held_out_db(gaussians: Gaussians, keyframes: Sequence[Keyframe]) -> float:
    """Raw PSNR of the keyframes that gave no colour."""
    indices = [index for index in range(len(keyframes)) if is_held_out(index, 8)]
    return psnr_report(gaussians, keyframes, RASTERIZER, indices)["psnr"]


def measure_quality(report: Report, keyframes: list[Keyframe], iterations: int, budgets: Sequence[float]) -> Optimized:
    """PSNR at the default number of steps, and within budgets."""
    crude = made(keyframes, iterations=0).gaussians
    report.add("held-out PSNR of the seeds alone", held_out_db(crude, keyframes), "dB")
    began = time.perf_counter()
    found = made(keyframes, iterations=iterations)
    seconds = time.perf_counter() - began
    score = held_out_db(found.gaussians, keyframes)
    report.add(f"held-out PSNR after {found.steps} steps", score, "dB", at_least=None if report.quick else BAR_DB)
    report.add("seconds for them, carving and seeding included", seconds, "s")
    report.add("Gaussians then", len(found.gaussians), "")
    for budget in budgets:
        began = time.perf_counter()
        timed = made(keyframes, budget=budget)
        taken = time.perf_counter() - began
        report.add(f"held-out PSNR within {budget:g} s", held_out_db(timed.gaussians, keyframes), "dB")
        report.add(f"steps within {budget:g} s", timed.steps, "")
        report.add(f"share of {budget:g} s that was taken", taken / budget, "x", at_most=None if report.quick else 1.1)
    return found


def measure_step(report: Report, keyframe: Keyframe, gaussians: Gaussians, rounds: int) -> None:
    """What a step costs beside drawing forward and backward, which it cannot do without."""
    trainer = Trainer(gaussians, RASTERIZER, Losses(depth_weight=0.1, ssim_weight=0.2), extent=2.0)
    leaves = Gaussians(**{name: t.clone().requires_grad_() for name, t in gaussians.tensors().items()})
    shade = torch.ones(*keyframe.image.shape) / keyframe.image.size

    def draw() -> None:
        view = RASTERIZER.render(leaves, keyframe.camera, keyframe.world_from_camera)
        torch.autograd.backward([view.color, view.depth], [shade, shade[..., 0]])

    step_s, draw_s = (best(taken) for taken in paired(lambda: trainer.step(keyframe, 0, 1.0), draw, rounds=rounds))
    note = "the floor is drawing forward and backward alone; the rest is SSIM and Adam"
    report.add("one step", step_s * 1e3, "ms", floor=draw_s * 1e3, note=note)
    image = torch.rand(keyframe.image.shape)
    weight = torch.ones(keyframe.image.shape[:2])

    def plain() -> None:
        shown = image.clone().requires_grad_()
        loss = 0.8 * (shown - 0.5 * image).abs().mean() + 0.1 * (1.0 - ssim(shown, 0.5 * image)).mean()
        loss.backward()

    def fused() -> None:
        colour_loss(image.clone().requires_grad_(), 0.5 * image, weight, 0.2).backward()

    fused_s, plain_s = (best(taken) for taken in paired(fused, plain, rounds=3 * rounds))
    report.add("L1 + SSIM with its gradient", fused_s * 1e3, "ms")
    bar = None if report.quick else 1.5
    report.add("the same differentiated step by step, over it", plain_s / fused_s, "x", at_least=bar)


def measure_update(report: Report, size: int, visible: int, rounds: int) -> None:
    """Adam on the visible rows of a large map against torch's own on all."""
    rows = torch.randperm(size, generator=torch.Generator().manual_seed(0))[:visible].sort().values
    values = torch.zeros(size, 14)
    gaussians = Gaussians(
        means=values[:, :3], quats=values[:, :4], log_scales=values[:, :3], logit_opacities=values[:, 0],
        sh=values[:, None, :3],
    )  # fmt: skip
    parameters, gradient, rates = Parameters(gaussians), torch.ones(visible, 14), torch.full((14,), 0.01)
    dense = torch.zeros(size, 14, requires_grad=True)
    dense.grad = torch.zeros(size, 14)
    adam = torch.optim.Adam([dense], lr=0.01)
    times = paired(lambda: parameters.step(rows, gradient, rates), adam.step, rounds=rounds)
    sparse_s, dense_s = (best(taken) for taken in times)
    # Values and two moments are read and written, the gradient read; a row is 14 float32, and its count.
    floor = visible * (14 * 4 * 7 + 8) / copy_bytes_per_s(64 << 20)
    note = "the floor reads and writes the visible rows once; torch makes a pass for every operation"
    name = f"Adam on {visible // 1000} k visible of {size // 1000} k Gaussians"
    report.add(name, sparse_s * 1e3, "ms", floor=floor * 1e3, note=note)
    report.add("Adam on all, over it", dense_s / sparse_s, "x", at_least=None if report.quick else 2.0)


def measure_growth(report: Report, keyframes: list[Keyframe], iterations: int) -> None:
    """New keyframes taken in by a map that was optimised before, against starting over."""
    known = len(keyframes) - NEW
    first = made(keyframes[:known], iterations=iterations, holdout_every=0).gaussians

    def timed(work: Callable[[], Optimized]) -> tuple[Gaussians, float]:
        began = time.perf_counter()
        found = work().gaussians
        return found, time.perf_counter() - began

    grown, grown_s = timed(lambda: made(keyframes, first, num_known=known, holdout_every=0))
    anew, anew_s = timed(lambda: made(keyframes, iterations=iterations, holdout_every=0))
    at_most = None if report.quick else 0.6
    report.add(f"{NEW} new keyframes taken in, over starting over", grown_s / anew_s, "x", at_most=at_most)
    for name, indices in (("known", range(known)), ("new", range(known, len(keyframes)))):
        scores = [psnr_report(found, keyframes, RASTERIZER, indices)["psnr"] for found in (first, grown, anew)]
        report.details[f"PSNR of {name} keyframes before, after, and starting over"] = np.round(scores, 2).tolist()
        note = "Adam's moments begin anew, so that its first steps shake what had settled; they could be kept"
        floor = None if report.quick else (scores[0] - 0.3 if name == "known" else scores[0] + 1.0)
        report.add(f"PSNR of the {name} keyframes after that", scores[1], "dB", at_least=floor, note=note)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny room and few steps")
    quick = parser.parse_args().quick
    report = Report("optimize", quick=quick)
    keyframes = room(10, 64) if quick else room(24, 320)
    steps = 8 if quick else 400
    made(keyframes[:3], iterations=2)  # compiles
    found = measure_quality(report, keyframes, steps, () if quick else BUDGETS)
    measure_step(report, keyframes[0], found.gaussians, 2 if quick else 15)
    measure_update(report, MAP_SIZE // (50 if quick else 1), VISIBLE // (50 if quick else 1), 2 if quick else 7)
    measure_growth(report, keyframes[:14], steps if quick else 224)
    report.save()


if __name__ == "__main__":
    main()
