# SPDX-License-Identifier: Apache-2.0
"""How fast the CPU rasterizer is beside plain torch and beside its floor: python benchmarks/rasterizer.py [--quick].

Both draw one scene forward and backward, turn by turn in one run and for the same time, so that other work on the
machine hits both; each is counted at its best. Torch is given every number of threads up to the machine's and counted
at the best of these, too. The ratio of processor time over all threads is disturbed less by other work. A process of
its own tells how long the first picture takes once kernels are compiled, and how much memory one needs. A table is
printed; the figures are also written under benchmarks/results/.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from harness import Report, best, copy_bytes_per_s, paired, resident_mb

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.rendering.torch_reference import Ellipses, TorchRasterizer
from ccl_lgs_ros.rendering.workers import Crew
from ccl_lgs_ros.structures import Gaussians, Rendering

NUM_GAUSSIANS = 20_000
NUM_FEATURES = 8  # beside RGB
SIZES = ((320, 240, 40.0), (640, 480, 80.0))  # width, height, the ratio to reach
UNSEEN_COPIES = 99  # of 10 k Gaussians, beside the view: with the first, 1 M
WHY = (
    "what is left: projection and its gradient in doubles, one Gaussian at a time, sorting, and loops over rows that "
    "load two numbers for each multiply-add; next: eight Gaussians at a time in float32"
)
VOTE_BAR = 2.0  # votes of a keyframe cost at most this many forward renders
POSE = np.eye(4)
FIRST_BAR = 2.0  # seconds to the first picture of a process, once kernels are compiled
# Multiply-adds, or what takes the place of one, that a pixel of a splat needs. Forward: 2 for the polynomial, 8 for
# the power of two, 2 for the transmittance, 1 for each channel; backward: 10 for the same alpha, 6 for taking it off
# the pixel, 3 for moments, 2 for each channel.
CHANNELS = 4 + NUM_FEATURES  # RGB, depth, features
FORWARD_STEPS, BACKWARD_STEPS = 12 + CHANNELS, 19 + 2 * CHANNELS
FLOOR_NOTE = "floor: multiply-adds of the drawn pixel-Gaussian pairs at the measured rate, and images at copying speed"


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
    fast()  # compiles
    vote()
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


@numba.njit(fastmath=True, nogil=True)
def multiply_add(counter, rounds):
    """Nothing but multiply-adds, 96 side by side, in registers; `counter` as the crew hands it out."""
    numbers = np.ones(96, np.float32)
    for _ in range(rounds):
        for i in range(96):
            numbers[i] = numbers[i] * np.float32(0.999) + np.float32(0.1)
    counter[0] += int(numbers[0])


def multiply_adds_per_s(rounds: int = 200_000) -> float:
    """How many multiply-adds of float32 a second all threads can do together."""
    crew = Crew()
    (seconds,) = paired(lambda: crew.run(multiply_add, rounds), rounds=10)
    return crew.num_threads * rounds * 96 / best(seconds)


def count_pairs(camera: Camera) -> int:
    """How many pairs of pixel and Gaussian are drawn: not too faint, and not behind where a pixel ended."""
    ellipses = Ellipses(make_scene(NUM_GAUSSIANS)[0], camera, POSE)
    return sum(int((weights > 0).sum()) for weights in ellipses.weights(ellipses.tiles()))


def floors_ms(camera: Camera, adds_per_s: float, bytes_per_s: float) -> tuple[float, float]:
    """What forward and backward would take if they did nothing but what they must."""
    pairs, image = count_pairs(camera), camera.width * camera.height * (CHANNELS + 1) * 4
    forward = pairs * FORWARD_STEPS / adds_per_s + image / bytes_per_s
    # The backward reads all gradients, and depth and alpha as drawn.
    return 1e3 * forward, 1e3 * (pairs * BACKWARD_STEPS / adds_per_s + image * (1 + 2 / (CHANNELS + 1)) / bytes_per_s)


def first_picture() -> None:
    """Print the seconds of the first forward and backward of this process, and the memory that the next one needs."""
    draw = drawing(NumbaRasterizer(), make_camera(640, 480))
    began = time.perf_counter()
    draw()
    seconds = time.perf_counter() - began
    # Not the peak: that of a process begins with what its parent held.
    print(json.dumps({"seconds": seconds, "resident_mb": resident_mb()}))


def in_new_process() -> dict[str, float]:
    """What `first_picture` prints in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--first"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def far_away(rounds: int) -> tuple[float, float, int]:
    """The best seconds to draw a map most of which is out of view, and what is in view alone; and the map's bytes."""
    camera, rasterizer = make_camera(320, 240), NumbaRasterizer()
    seen, _ = make_scene(NUM_GAUSSIANS // 2)
    beside = seen.select(torch.arange(len(seen)).repeat(UNSEEN_COPIES))
    beside.means[:, 0] += 100.0
    everything = seen.joined(beside)
    times = paired(
        lambda: rasterizer.render(everything, camera, POSE),
        lambda: rasterizer.render(seen, camera, POSE),
        rounds=rounds,
    )
    size = sum(tensor.numel() * tensor.element_size() for tensor in everything.tensors().values())
    return best(times[0]), best(times[1]), size


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--first", action="store_true", help="only time the first picture of this process")
    arguments = parser.parse_args()
    if arguments.first:
        first_picture()
        return
    rounds = 1 if arguments.quick else 3
    report = Report("rasterizer", quick=arguments.quick)
    print(f"{NUM_GAUSSIANS} Gaussians, RGB + {NUM_FEATURES} channels, best of {rounds} round(s)")
    adds_per_s, bytes_per_s = multiply_adds_per_s(), copy_bytes_per_s(64 << 20)
    report.details |= {"multiply_adds_per_s": adds_per_s, "copy_bytes_per_s": bytes_per_s}
    for width, height, goal in SIZES[:1] if arguments.quick else SIZES:
        add_size(report, measure(width, height, rounds), goal, adds_per_s, bytes_per_s)
    first = in_new_process()
    report.details["first picture"] = first
    report.add("first picture of a new process, compiled before", first["seconds"], "s", at_most=FIRST_BAR)
    report.add("memory of a process after a picture at 640x480", first["resident_mb"], "MB")
    everything_s, seen_s, size = far_away(3 * rounds)
    note = "floor: drawing what is in view alone, and reading every parameter once to see that it is a number"
    floor = 1e3 * (seen_s + size / bytes_per_s)
    report.add("forward, 1 M Gaussians with 1 % in view", 1e3 * everything_s, "ms", floor=floor, note=note)
    report.save()


def add_size(report: Report, row: dict[str, float], goal: float, adds_per_s: float, bytes_per_s: float) -> None:
    """Add the figures of one size."""
    width, height = int(row["width"]), int(row["height"])
    at = f"at {width}x{height}"
    forward_ms, backward_ms = floors_ms(make_camera(width, height), adds_per_s, bytes_per_s)
    report.details[f"{width}x{height}"] = row
    report.add(f"numba_cpu forward {at}", row["numba_forward_s"] * 1e3, "ms", floor=forward_ms, note=FLOOR_NOTE)
    report.add(f"numba_cpu backward {at}", row["numba_backward_s"] * 1e3, "ms", floor=backward_ms, note=FLOOR_NOTE)
    report.add(f"torch reference over numba_cpu {at}", row["torch_over_numba"], "x", at_least=goal, note=WHY)
    report.add(f"the same in processor time {at}", row["torch_over_numba_cpu"], "x")
    report.add(f"vote over forward {at}", row["vote_over_forward"], "x", at_most=VOTE_BAR)


if __name__ == "__main__":
    main()
