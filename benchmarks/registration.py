# SPDX-License-Identifier: Apache-2.0
"""What a keyframe's votes cost, and what few slots forget: python benchmarks/registration.py [--quick].

cost       both levels' label maps voted onto 100 000 Gaussians at 640x480 and counted, in forward renders (colour,
           no gradients) of the same view, turn by turn in one run; small splats, as where a map is fine, and large
counting   the compiled table beside the plain one in torch that the tests hold it to
forgetting on a synthetic room, mapped live: the Gaussians whose winner is not that of a table with a column for
           every track, by slots
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness import Report, best, copy_bytes_per_s, paired
from rasterizer import POSE, make_camera, make_scene

from ccl_lgs_ros.camera import Camera, Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.field.joint_votes import joint_votes
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.gaussians.store import Part
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.parts import create_parts
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Gaussians, Votes, VoteTable
from ccl_lgs_ros.synthetic.scene import make_room_scene

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))  # the plain table is a test's
from plain_registration import accumulated_plainly

NUM_GAUSSIANS = 100_000
SIZE = (640, 480)
GRIDS = {"sp": (9, 12), "wp": (5, 6)}  # segments in rows and columns
BAR = 2.0  # forward renders
SLOTS = 6  # the default
TRIED_SLOTS = (2, 4, 6, 8)
BYTES_OF_VOTE = 8 + 8 + 4
ROW_BYTES = 8 * SLOTS + 8  # of a table
MANY_SLOTS = 64
MAX_DIFFERENT = 0.5  # percent of the Gaussians
ROOM = 1


def lifter(slots: int) -> RegistrationLifter:
    return RegistrationLifter(slots=slots, min_confidence=0.3, min_labelled=0.2)


def segments(camera: Camera, rows: int, columns: int) -> torch.Tensor:
    """A label map of a grid; a tenth of the image has no label."""
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    labels = (y * rows // camera.height * columns + x * columns // camera.width).int()
    labels[: camera.height // 10] = -1
    return labels


def processor_s(work: Callable[[], object], rounds: int) -> float:
    """Seconds of all cores together, the least of some rounds: what else the machine does plays little part."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return best(seconds)


def cost(report: Report, name: str, gaussians: Gaussians, size: tuple[int, int], rounds: int) -> None:
    """Votes and counting of a keyframe, in renders."""
    rasterizer, camera = NumbaRasterizer(), make_camera(*size)
    labels = {level: segments(camera, *grid) for level, grid in GRIDS.items()}
    tables = {level: VoteTable.empty(len(gaussians), SLOTS) for level in labels}

    def registered(votes_of: Callable[[], dict[str, Votes]]) -> None:
        for level, votes in votes_of().items():
            tables[level] = lifter(SLOTS).accumulate(tables[level], votes)

    def at_once() -> dict[str, Votes]:
        return joint_votes(rasterizer, gaussians, camera, POSE, labels)

    def one_by_one() -> dict[str, Votes]:
        return {level: rasterizer.vote(gaussians, camera, POSE, found) for level, found in labels.items()}

    work = (
        lambda: rasterizer.render(gaussians, camera, POSE),
        lambda: registered(at_once),
        lambda: registered(one_by_one),
    )
    with torch.no_grad():
        render_s, once_s, each_s = (best(seconds) for seconds in paired(*work, rounds=rounds))
    report.add(f"forward render, {name}", 1e3 * render_s, "ms")
    report.add(
        f"registration, {name}",
        once_s / render_s,
        "render",
        at_most=BAR,
        floor=1.0,
        note="the floor is one pass over the view: each splat of each tile is looked at once; beside it stand the sums "
        "over tiles and, on one core, pairing and splitting labels, which could move into the pass",
    )
    with torch.no_grad():
        render_cpu_s, once_cpu_s, _ = (processor_s(each, rounds) for each in work)
    report.add(f"registration, processor time, {name}", once_cpu_s / render_cpu_s, "render", floor=1.0)
    report.add(f"registration, level by level, {name}", each_s / render_s, "render")
    votes = at_once()["sp"]
    counting(report, name, tables["sp"], votes, rounds)


def counting(report: Report, name: str, table: VoteTable, votes: Votes, rounds: int) -> None:
    """The compiled table beside the plain one."""
    work = (lambda: lifter(SLOTS).accumulate(table, votes), lambda: accumulated_plainly(table, votes))
    fast_s, plain_s = (best(seconds) for seconds in paired(*work, rounds=rounds))
    rows = len(torch.unique_consecutive(votes.gaussian))
    moved = 2 * len(table.lost) * ROW_BYTES + len(votes.gaussian) * BYTES_OF_VOTE + 2 * rows * ROW_BYTES
    report.add(
        f"counting {len(votes.gaussian)} votes, {name}",
        1e3 * fast_s,
        "ms",
        floor=1e3 * moved / copy_bytes_per_s(64 << 20),
        note="the floor copies the table, reads the votes, and reads and writes the rows that have some",
    )
    report.add(f"counting, plain over compiled, {name}", plain_s / fast_s, "x")


class Recorder(RegistrationLifter):
    """A lifter that also notes what it is given, by level in turn."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots=slots, min_confidence=0.3, min_labelled=0.2)
        self.index = torch.zeros(0, dtype=torch.int64)  # the Gaussian of each row
        self.views: list[Votes] = []

    def accumulate(self, table: VoteTable, votes: Votes) -> VoteTable:
        self.views.append(replace(votes, gaussian=self.index[votes.gaussian], visibility=torch.zeros(0)))
        return super().accumulate(table, votes)


def recorded(count: int, width: int) -> tuple[int, dict[str, list[Votes]]]:
    """The number of Gaussians of a room mapped live, and the votes of its keyframes for tracks, by level."""
    room = make_room_scene(ROOM, width=width, height=width * 3 // 4)
    options = {"gaussians.image_width": width, "masks.min_area_px": 40, "field.slots": MANY_SLOTS}
    config, recorder = updated(MapConfig(), options), Recorder(MANY_SLOTS)
    with tempfile.TemporaryDirectory() as folder:
        parts = replace(create_parts(config), live_lifter=recorder)
        session = MapSession(config, MapDirectory.create(Path(folder) / "map"), parts=parts)
        join = session.live.join

        def noted(part: Part, *rest: Any) -> Any:
            recorder.index = part.index
            return join(part, *rest)

        session.live.join = noted  # type: ignore[method-assign]
        for index, seconds in enumerate(room.moments(count)):
            frame = room.frame(float(seconds))
            pixels = {"image": frame.image, "depth": frame.depth}
            pose = frame.world_from_camera
            session.add(Keyframe(id=index, stamp_ns=index + 1, camera=frame.camera, world_from_camera=pose, **pixels))
        return len(session.gaussians), {name: recorder.views[place :: len(LEVELS)] for place, name in enumerate(LEVELS)}


def forgetting(report: Report, count: int, width: int) -> None:
    """The winners of few slots beside those of all, over the live mapping of a room."""
    num_gaussians, views_of = recorded(count, width)
    for name, views in views_of.items():
        num_tracks = 1 + max(int(votes.label.max()) if len(votes.label) else 0 for votes in views)
        true = torch.zeros(num_gaussians, num_tracks, dtype=torch.float64)
        for votes in views:
            true.index_put_((votes.gaussian, votes.label), votes.weight.double(), accumulate=True)
        total = true.sum(dim=1)
        has = total > 0
        weight, winner = true.max(dim=1)
        is_clear = has & (weight > 0.5 * total)
        tracks = (true > 0).sum(dim=1)[has].float()
        report.add(f"{name}: tracks of a Gaussian, median (of {num_tracks})", tracks.median(), "")
        for slots in TRIED_SLOTS:
            table = VoteTable.empty(num_gaussians, slots)
            for votes in views:
                table = lifter(slots).accumulate(table, votes)
            differs = table.track[:, 0] != winner
            is_default = slots == SLOTS
            share = 100 * (differs & has).sum() / has.sum()
            limit = MAX_DIFFERENT if is_default else None
            report.add(f"{name}: another winner than the dense table's, {slots} slots", share, "%", at_most=limit)
            if is_default:
                share = 100 * (differs & is_clear).sum() / is_clear.sum()
                report.add(f"{name}: so where one has more than half, {slots} slots", share, "%", at_most=0.0)
                lost = 100 * (table.lost[has] / total[has]).mean()
                bound = 100 / (slots + 1)
                report.add(f"{name}: lost, share of a Gaussian's votes, {slots} slots", lost, "%", at_most=bound)


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: try the script, not the machine")
    quick = parser.parse_args().quick
    report = Report("registration", quick=quick)
    count, size, rounds = (2000, (160, 120), 1) if quick else (NUM_GAUSSIANS, SIZE, 9)
    large, _ = make_scene(count)
    tensors = large.tensors()
    small = Gaussians(**{**tensors, "log_scales": tensors["log_scales"] - 1.0})
    cost(report, "splats of 0.4 to 1.5 cm", small, size, rounds)
    cost(report, "splats of 1 to 4 cm", large, size, rounds)
    report.add("working votes of both levels", len(LEVELS) * ROW_BYTES, "B", note="a Gaussian, whatever the tracks")
    forgetting(report, *((3, 96) if quick else (40, 128)))
    report.details["gaussians"] = count
    report.save()


if __name__ == "__main__":
    main()
