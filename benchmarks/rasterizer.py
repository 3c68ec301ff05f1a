# SPDX-License-Identifier: Apache-2.0
"""How fast the CPU rasterizer is beside plain torch: python benchmarks/rasterizer.py [--quick].

Both draw one scene forward and backward, turn by turn in one run and for the same time, so that other work on the
machine hits both; each is counted at its best. Torch is given every number of threads up to the machine's and counted
at the best of these, too. "work" is the ratio of processor time over all threads, which other work disturbs less. A
table is printed; the figures are also written under benchmarks/results/.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from harness import Report

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Gaussians, Rendering

NUM_GAUSSIANS = 20_000
NUM_FEATURES = 8  # beside RGB
SIZES = ((320, 240, 40.0), (640, 480, 80.0))  # width, height, the ratio to reach
VOTE_BAR = 2.0  # votes of a keyframe cost at most this many forward renders
POSE = np.eye(4)


def make_scene(num_gaussians: int, seed: int = 0) -> tuple[Gaussians, torch.Tensor]:
    """Gaussians of 1 to 4 cm in a room of 1 to 6 m depth, two thirds of them in view, and their features."""
    generator = torch.Generator().manual_seed(seed)
    z = 1.0 + 5.0 * torch.rand(num_gaussians, generator=generator)
    across = (2.0 * torch.rand(num_gaussians, 2, generator=generator) - 1.0) * torch.tensor([0.78, 0.58])
    gaussians = Gaussians(
        means=torch.cat([across * z[:, None], z[:, None]], dim=1),
        quats=torch.randn(num_gaussians, 4, generator=generator),
        log_scales=torch.log(0.01 + 0.03 * torch.rand(num_gaussians, 3, generator=generator)),
        logit_opacities=torch.randn(num_gaussians, generator=generator),
        sh=torch.randn(num_gaussians, 1, 3, generator=generator),
    )
    return gaussians, torch.randn(num_gaussians, NUM_FEATURES, generator=generator)


def make_camera(width: int, height: int) -> Camera:
    """A camera with 64 degrees of view across."""
    return Camera(width=width, height=height, fx=0.8 * width, fy=0.8 * width, cx=width / 2, cy=height / 2)


Seconds = tuple[float, float, float]  # of two things done after each other, and of the processor for both


def timed(first: Callable[[], Rendering], second: Callable[[Rendering], object]) -> Seconds:
    """The seconds that two things take."""
    started, cpu = time.perf_counter(), time.process_time()
    view = first()
    between = time.perf_counter()
    second(view)
    return between - started, time.perf_counter() - between, time.process_time() - cpu


def drawing(rasterizer: Rasterizer, camera: Camera) -> Callable[[], Seconds]:
    """A function that draws forward and backward and tells the seconds of each."""
    scene, scene_features = make_scene(NUM_GAUSSIANS)
    gaussians = Gaussians(**{name: t.requires_grad_() for name, t in scene.tensors().items()})
    features = scene_features.requires_grad_()
    generator = torch.Generator().manual_seed(1)
    size = (camera.height, camera.width)
    target = [torch.randn(*size, *rest, generator=generator) for rest in ((3,), (), (NUM_FEATURES,))]
    return lambda: timed(
        lambda: rasterizer.render(gaussians, camera, POSE, features),
        lambda view: torch.autograd.backward([view.color, view.depth, view.features], target),
    )


def voting(camera: Camera) -> Callable[[], Seconds]:
    """A function that draws without gradients, then votes, and tells the seconds of each."""
    rasterizer = NumbaRasterizer()
    gaussians, features = make_scene(NUM_GAUSSIANS)
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    labels = (y * 9 // camera.height * 12 + x * 12 // camera.width).int()  # 108 segments
    labels[: camera.height // 10] = -1
    return lambda: timed(
        lambda: rasterizer.render(gaussians, camera, POSE, features),
        lambda _: rasterizer.vote(gaussians, camera, POSE, labels),
    )


def measure(width: int, height: int, rounds: int) -> dict[str, float]:
    """Best seconds of each part at one size, and their ratios."""
    camera = make_camera(width, height)
    fast, plain, vote = drawing(NumbaRasterizer(), camera), drawing(TorchRasterizer(), camera), voting(camera)
    fast(), vote()  # compiles
    threads = torch.get_num_threads()
    numba_times, torch_times, vote_times = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for count in range(1, threads + 1):
            torch.set_num_threads(count)
            torch_times.append(plain())
        torch.set_num_threads(threads)
        until = 2 * time.perf_counter() - started
        while time.perf_counter() < until:
            numba_times.append(fast())
            vote_times.append(vote())
    numba_s, torch_s = (min(a + b for a, b, _ in times) for times in (numba_times, torch_times))
    numba_cpu_s, torch_cpu_s = (min(cpu for *_, cpu in times) for times in (numba_times, torch_times))
    forward_s, vote_s = min(a for a, *_ in vote_times), min(b for _, b, _ in vote_times)
    return {
        "width": width,
        "height": height,
        "numba_forward_s": min(a for a, *_ in numba_times),
        "numba_backward_s": min(b for _, b, _ in numba_times),
        "numba_s": numba_s,
        "torch_s": torch_s,
        "torch_over_numba": torch_s / numba_s,
        "numba_cpu_s": numba_cpu_s,
        "torch_cpu_s": torch_cpu_s,
        "torch_over_numba_cpu": torch_cpu_s / numba_cpu_s,
        "vote_s": vote_s,
        "vote_over_forward": vote_s / forward_s,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    rounds = 1 if parser.parse_args().quick else 5
    report = Report("rasterizer", quick=rounds == 1)
    print(f"{NUM_GAUSSIANS} Gaussians, RGB + {NUM_FEATURES} channels, best of {rounds} round(s)")
    for width, height, goal in SIZES:
        row, at = measure(width, height, rounds), f"at {width}x{height}"
        report.details[f"{width}x{height}"] = row
        report.add(f"numba_cpu forward {at}", row["numba_forward_s"] * 1e3, "ms")
        report.add(f"numba_cpu backward {at}", row["numba_backward_s"] * 1e3, "ms")
        report.add(f"torch reference over numba_cpu {at}", row["torch_over_numba"], "x", at_least=goal)
        report.add(f"the same in processor time {at}", row["torch_over_numba_cpu"], "x")
        report.add(f"vote over forward {at}", row["vote_over_forward"], "x", at_most=VOTE_BAR)
    report.save()


if __name__ == "__main__":
    main()
