# SPDX-License-Identifier: Apache-2.0
"""What a GPU must show: python benchmarks/gpu.py [--quick] [--cpu].

    agreement      gsplat and numba_cpu draw one scene and vote on it alike
    distillation   100 000 Gaussians at 640x480, both levels: at least 20 iterations a second
    refine         200 keyframes at 640x480: at most 15 minutes and 8 GB

Where there is no GPU nothing is measured, and that is said; --cpu tries the script itself on the CPU with --quick
sizes. Figures go to benchmarks/results/gpu.json with the name of the device.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.field.distillation import DistillationLifter
from ccl_lgs_ros.labelling import LabelledView, LevelLabels
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.protocols import NoCheckpoint, Rasterizer, no_progress
from ccl_lgs_ros.registry import create
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import LEVELS, Codebook, Gaussians
from ccl_lgs_ros.synthetic.scene import make_room_scene

RESULTS = Path(__file__).parent / "results" / "gpu.json"
COLOR_TOLERANCE = 2e-3  # mean absolute difference; single pixels flip where a threshold is met
VOTE_TOLERANCE = 1e-2  # of all votes
MIN_RATE, MAX_SECONDS, MAX_GB = 20.0, 900.0, 8.0
NUM_CODES = 128
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
        return LabelledView(keyframe=self.keyframe, labels=dict.fromkeys(LEVELS, self.labels))


def agreement(rasterizers: dict[str, Rasterizer], device: torch.device, count: int) -> dict[str, object]:
    """How far the two rasterizers are apart, and whether that is within tolerance."""
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
    agrees = color <= COLOR_TOLERANCE and vote <= VOTE_TOLERANCE
    return {"color_difference": color, "vote_difference": vote, "gaussians": count, "passes": agrees}


def distillation(
    rasterizer: Rasterizer, device: torch.device, count: int, size: tuple[int, int], steps: int
) -> dict[str, object]:
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
    labels = LevelLabels(
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
    return {"iterations_per_s": rate, "gaussians": count, "size": list(size), "passes": rate >= MIN_RATE}


def refine(device: torch.device, num_keyframes: int, size: tuple[int, int], steps: int) -> dict[str, object]:
    """Seconds and memory of a refine of a synthetic room; perception ran before."""
    room = make_room_scene(1, width=size[0], height=size[1])
    frames = [
        Keyframe(
            id=index, stamp_ns=index + 1, camera=frame.camera, world_from_camera=frame.world_from_camera,
            image=frame.image, depth=frame.depth,
        )
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
        peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
        figures = {"keyframes": num_keyframes, "size": list(size), "gaussians": len(session.gaussians)}
    passes = seconds <= MAX_SECONDS and peak <= MAX_GB
    return {"seconds": seconds, "peak_gb": peak, **figures, "info": session.info, "passes": passes}


def main() -> None:
    """Measure what can be, say what cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: try the script, not the device")
    parser.add_argument("--cpu", action="store_true", help="with --quick, on the CPU; nothing is written")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.cpu:
        print("no GPU: agreement, distillation and refine were not run; --cpu --quick tries the script itself")
        return
    device = torch.device("cpu" if arguments.cpu else "cuda")
    quick = arguments.quick or arguments.cpu
    names = ("numba_cpu", "torch_reference" if arguments.cpu else "gsplat")
    rendering = MapConfig().rendering
    rasterizers = {name: create("rasterizer", name, rendering) for name in names}
    fastest = rasterizers[names[0] if arguments.cpu else names[1]]
    size = (80, 60) if quick else (640, 480)
    result: dict[str, object] = {
        "device": "cpu" if arguments.cpu else torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "agreement": agreement(rasterizers, device, 2_000 if quick else 20_000),
        "distillation": distillation(fastest, device, 2_000 if quick else 100_000, size, 20 if quick else 200),
        "refine": refine(device, 6 if quick else 200, size, 20 if quick else MapConfig().field.iterations),
    }
    print(json.dumps(result, indent=2, default=str))
    if not quick:
        RESULTS.write_text(json.dumps(result, indent=2, default=str) + "\n")
        print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
