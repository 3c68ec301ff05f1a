# SPDX-License-Identifier: Apache-2.0
"""What a GPU must show: python benchmarks/gpu.py [--quick] [--cpu].

    agreement      gsplat and numba_cpu draw one scene and vote on it alike
    drawing        forward and backward at 640x480, RGB and 8 channels
    registration   votes by the gradient trick (rendering/gsplat_cuda.py) against pairs of Gaussian and pixel (indices)
    query          dense scores of 1 M Gaussians by track, against the dense 512-d product
    distillation   both levels at 640x480, 100 000 Gaussians (at least 20 iterations a second) and 1 M
    refine         200 keyframes at 640x480: at most 15 minutes and 8 GB

Where there is no GPU nothing is measured, and that is said; --cpu --quick tries the script itself on the CPU, without
what only gsplat has. Figures go to benchmarks/results/gpu.json with the name of the device.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import Report, best, paired
from torch import Tensor

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.field.distillation import DistillationLifter
from ccl_lgs_ros.labelling import LabelledView, LevelLabels, SegmentTable
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.protocols import NoCheckpoint, Rasterizer, no_progress
from ccl_lgs_ros.registry import create
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Codebook, Gaussians
from ccl_lgs_ros.synthetic.scene import make_room_scene

COLOR_TOLERANCE = 2e-3  # mean absolute difference; single pixels flip where a threshold is met
VOTE_TOLERANCE = 1e-2  # of all votes
MIN_RATE, MAX_SECONDS, MAX_GB = 20.0, 900.0, 8.0
VOTE_BAR = 2.0  # votes of a keyframe cost at most this many forward renders
NUM_CODES, DIM = 128, 512
GRID = (9, 12)  # segments in a view


def scene(count: int, device: torch.device) -> Gaussians:
    """Gaussians of 1 to 4 cm in a room of 1 to 6 m depth."""
    generator = torch.Generator().manual_seed(0)
    z = 1.0 + 5.0 * torch.rand(count, generator=generator)
    across = (2.0 * torch.rand(count, 2, generator=generator) - 1.0) * torch.tensor([0.6, 0.45])
    return Gaussians(
        means=torch.cat([across * z[:, None], z[:, None]], dim=1),
        quats=torch.randn(count, 4, generator=generator),
        log_scales=torch.log(0.01 + 0.03 * torch.rand(count, 3, generator=generator)),
        logit_opacities=torch.randn(count, generator=generator),
        sh=torch.randn(count, 1, 3, generator=generator),
    ).to(device)


class OneView:
    """A view of the scene in a grid of segments."""

    def __init__(self, width: int, height: int) -> None:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        self.labels = (y * GRID[0] // height * GRID[1] + x * GRID[1] // width).int()
        camera = Camera(width=width, height=height, fx=0.8 * width, fy=0.8 * width, cx=width / 2, cy=height / 2)
        image = np.zeros((height, width, 3), np.uint8)
        self.keyframe = Keyframe(id=0, stamp_ns=1, camera=camera, world_from_camera=np.eye(4), image=image, depth=None)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> LabelledView:
        maps = dict.fromkeys(LEVELS, self.labels)
        return LabelledView(keyframe=self.keyframe, rows=maps, labels=maps)


def synchronized(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The work, waited for."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def copy_rate(device: torch.device) -> float:
    """Bytes that the device's memory reads and writes a second."""
    source = torch.ones(64 << 20, device=device)
    target = torch.empty_like(source)
    (seconds,) = paired(synchronized(lambda: target.copy_(source), device))
    return 2 * source.numel() * source.element_size() / best(seconds)


def agreement(rasterizers: dict[str, Rasterizer], device: torch.device, count: int, report: Report) -> None:
    """How far the two rasterizers are apart."""
    view = OneView(320, 240)
    drawn, votes = {}, {}
    for name, rasterizer in rasterizers.items():
        gaussians = scene(count, torch.device("cpu") if name == "numba_cpu" else device)
        pose = view.keyframe.world_from_camera
        drawn[name] = rasterizer.render(gaussians, view.keyframe.camera, pose).color.detach().cpu()
        found = rasterizer.vote(gaussians, view.keyframe.camera, pose, view.labels)
        table = torch.zeros(count, GRID[0] * GRID[1])
        votes[name] = table.index_put((found.gaussian.cpu(), found.label.cpu()), found.weight.cpu())
    first, second = drawn
    color = float((drawn[first] - drawn[second]).abs().mean())
    vote = float((votes[first] - votes[second]).abs().sum() / votes[first].sum())
    report.add(f"mean colour difference, {count:,} Gaussians", color, "", at_most=COLOR_TOLERANCE)
    report.add(f"share of votes that differs, {count:,} Gaussians", vote, "", at_most=VOTE_TOLERANCE)


def drawing(rasterizer: Rasterizer, device: torch.device, count: int, size: tuple[int, int], report: Report) -> None:
    """Forward and backward, and the votes of one keyframe beside the forward."""
    view = OneView(*size)
    camera, pose = view.keyframe.camera, view.keyframe.world_from_camera
    gaussians = Gaussians(**{name: t.requires_grad_() for name, t in scene(count, device).tensors().items()})
    features = torch.randn(count, 8, device=device, requires_grad=True)

    def both() -> None:
        shown = rasterizer.render(gaussians, camera, pose, features)
        (shown.color.sum() + shown.depth.sum() + shown.features.sum()).backward()

    def forward() -> None:
        with torch.no_grad():
            rasterizer.render(gaussians, camera, pose, features)

    work = (forward, both, lambda: rasterizer.vote(gaussians, camera, pose, view.labels))
    forward_s, both_s, vote_s = (best(s) for s in paired(*(synchronized(w, device) for w in work)))
    at = f"{count:,} Gaussians, {size[0]}x{size[1]}"
    report.add(f"forward and backward, {at}", both_s * 1e3, "ms")
    report.add(f"votes by gradients over a forward, {at}", vote_s / forward_s, "x", at_most=VOTE_BAR)
    if device.type == "cuda":
        (pairs_s,) = paired(synchronized(lambda: votes_by_indices(gaussians, view), device))
        report.add(f"votes by indices over votes by gradients, {at}", best(pairs_s) / vote_s, "x")


def votes_by_indices(gaussians: Gaussians, view: OneView) -> Tensor:
    """The weight [N, L] of each Gaussian in each segment, from every pair of a Gaussian and a pixel that it touches."""
    from gsplat import rasterize_to_indices_in_range

    from ccl_lgs_ros.rendering.gsplat_cuda import _rasterize

    camera, device = view.keyframe.camera, gaussians.means.device
    with torch.no_grad():
        _, _, meta = _rasterize(gaussians.detached(), camera, view.keyframe.world_from_camera, gaussians.means, "RGB")
        clear = torch.ones(1, camera.height, camera.width, device=device)
        gaussian, pixel, _ = rasterize_to_indices_in_range(
            0, 1 << 20, clear, meta["means2d"], meta["conics"], meta["opacities"],
            camera.width, camera.height, meta["tile_size"], meta["isect_offsets"], meta["flatten_ids"],
        )  # fmt: skip
        means2d, conics, opacities = (meta[name][0] for name in ("means2d", "conics", "opacities"))
        weight = weights_of_pairs(means2d, conics, opacities, gaussian, pixel, camera.width)
        label = view.labels.to(device).flatten()[pixel].long()
        table = torch.zeros(len(gaussians) * GRID[0] * GRID[1], device=device)
        return table.index_add_(0, gaussian * GRID[0] * GRID[1] + label, weight).reshape(len(gaussians), -1)


def weights_of_pairs(
    means2d: Tensor,  # [N, 2] pixels
    conics: Tensor,  # [N, 3] upper triangle of the inverse covariance
    opacities: Tensor,  # [N]
    gaussian: Tensor,  # [P] int64
    pixel: Tensor,  # [P] int64, row by row; the pairs of a pixel follow each other from near to far
    width: int,
) -> Tensor:
    """The rendering weight [P] of each pair: its alpha times what comes through the pairs before it."""
    at = torch.stack([pixel % width, pixel // width], dim=1) + 0.5
    x, y = (at - means2d[gaussian]).unbind(dim=1)
    a, b, c = conics[gaussian].unbind(dim=1)
    alpha = (opacities[gaussian] * torch.exp(-0.5 * (a * x * x + c * y * y) - b * x * y)).clamp_max(0.999)
    through = torch.log1p(-alpha.double()).cumsum(dim=0) - torch.log1p(-alpha.double())
    first = torch.ones_like(pixel, dtype=torch.bool)
    first[1:] = pixel[1:] != pixel[:-1]
    begin = through[first][first.long().cumsum(dim=0) - 1]
    return alpha * (through - begin).exp().to(alpha)


def query(device: torch.device, count: int, report: Report) -> None:
    """Scores of all Gaussians for one prompt and four negatives: by track, and by the dense product."""
    generator = torch.Generator().manual_seed(0)
    entries, texts = (torch.randn(rows, DIM, generator=generator).to(device) for rows in (1024, 5))
    track = torch.randint(0, 20_000, (count,), generator=generator).to(device)
    entry_of_track = torch.randint(0, 1024, (20_000,), generator=generator).to(device)
    features = torch.randn(count, DIM, generator=generator).to(device)

    def relevancy(cosines: Tensor) -> Tensor:
        return torch.sigmoid(10.0 * (cosines[:, :1] - cosines[:, 1:])).min(dim=1).values

    by_track, dense = paired(
        synchronized(lambda: relevancy(entries @ texts.T)[entry_of_track][track], device),
        synchronized(lambda: relevancy(features @ texts.T), device),
    )
    floor = (track.element_size() + 4) * count / copy_rate(device)
    report.add(
        f"dense scores of {count:,} Gaussians by track", best(by_track) * 1e3, "ms", at_most=6.0, floor=floor * 1e3,
        note="the floor reads a track and writes a score per Gaussian",
    )  # fmt: skip
    report.add(f"dense {DIM}-d product over scores by track", best(dense) / best(by_track), "x")


def distillation(
    rasterizer: Rasterizer, device: torch.device, count: int, size: tuple[int, int], steps: int, report: Report
) -> None:
    """Iterations of distillation a second, the first ones not counted."""
    options = {"lifter": "distillation", "iterations": steps, "checkpoint_every": 0}
    config = updated(MapConfig(), {f"field.{name}": value for name, value in options.items()})
    lifter = create("lifter", "distillation", config.field)
    assert isinstance(lifter, DistillationLifter)
    moments: list[float] = []

    def progress(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "distill":
            moments.append(time.perf_counter())

    codes = torch.arange(GRID[0] * GRID[1])
    table = SegmentTable(
        features=torch.eye(NUM_CODES)[codes],
        track=codes,
        weight=torch.ones(len(codes)),
        start=torch.tensor([0, len(codes)]),
    )
    labels = LevelLabels(
        table=table,
        label_of_row=codes,
        track_of_label=codes,
        code_of_label=codes,
        codebook=Codebook(entries=torch.eye(NUM_CODES), weight=torch.ones(NUM_CODES)),
    )
    generator = torch.Generator().manual_seed(0)
    both: dict[str, LevelLabels] = dict.fromkeys(LEVELS, labels)
    lifter.lift(
        scene(count, device), OneView(*size), both, rasterizer,
        generator=generator, checkpoint=NoCheckpoint(), progress=progress,
    )  # fmt: skip
    late = moments[len(moments) // 5 :]
    rate = (len(late) - 1) / (late[-1] - late[0])
    bar = MIN_RATE if count <= 100_000 else None
    report.add(f"distillation, {count:,} Gaussians, {size[0]}x{size[1]}", rate, "1/s", at_least=bar)


def refine(device: torch.device, num_keyframes: int, size: tuple[int, int], steps: int, report: Report) -> None:
    """Seconds and memory of a refine of a synthetic room; perception ran before."""
    room = make_room_scene(1, width=size[0], height=size[1])
    frames = [
        frame.keyframe(index)
        for index, frame in enumerate(room.frames(num_keyframes))
    ]  # fmt: skip
    changes: dict[str, object] = {"device": str(device), "gaussians.image_width": size[0]}
    changes |= {"field.lifter": "distillation", "field.iterations": steps}
    with tempfile.TemporaryDirectory() as folder:
        session = MapSession(updated(MapConfig(), changes), MapDirectory.create(Path(folder) / "map"), no_progress)
        session.catch_up(frames)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        session.refine(frames)
        seconds = time.perf_counter() - began
        what = f"refine of {num_keyframes} keyframes, {len(session.gaussians):,} Gaussians"
        report.add(what, seconds, "s", at_most=MAX_SECONDS)
        if device.type == "cuda":
            report.add(f"memory of the {what}", torch.cuda.max_memory_allocated() / 1e9, "GB", at_most=MAX_GB)
        report.details["refine"] = {name: str(value) for name, value in session.info.items()}


def main() -> None:
    """Measure what can be, say what cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: try the script, not the device")
    parser.add_argument("--cpu", action="store_true", help="with --quick, on the CPU")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.cpu:
        print("no GPU: nothing was run; --cpu --quick tries the script itself")
        return
    device = torch.device("cpu" if arguments.cpu else "cuda")
    quick = arguments.quick or arguments.cpu
    names = ("numba_cpu", "torch_reference" if arguments.cpu else "gsplat")
    rasterizers = {name: create("rasterizer", name, MapConfig().rendering) for name in names}
    fastest = rasterizers[names[0] if arguments.cpu else names[1]]
    report = Report("gpu", quick=quick)
    report.details["device"] = "cpu" if arguments.cpu else torch.cuda.get_device_name(0)
    size = (80, 60) if quick else (640, 480)
    agreement(rasterizers, device, 2_000 if quick else 20_000, report)
    counts = (2_000,) if quick else (100_000, 1_000_000)
    for count in counts:
        drawing(fastest, device, count, size, report)
    query(device, 10_000 if quick else 1_000_000, report)
    for count in counts:
        distillation(fastest, device, count, size, 20 if quick else 200, report)
    refine(device, 6 if quick else 200, size, 20 if quick else MapConfig().field.iterations, report)
    report.save()


if __name__ == "__main__":
    main()
