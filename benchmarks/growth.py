# SPDX-License-Identifier: Apache-2.0
"""What a keyframe costs while the map grows: python benchmarks/growth.py [--quick] [--picture FILE].

    Gaussians   a building of equal rooms, side by side, from 10 thousand to 2 million Gaussians; measured is what
                the live path takes for the keyframes of a room that is new
    keyframes   one session, room after room, from the first keyframe to the 2000th

The live path is `MapSession.add`: seeding, association and votes at both levels. Segments come with the images, as a
simulator's do, so that the models' own time, which does not depend on the map, hides nothing. The figures are drawn
as docs/growth.png.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness import Report, p50, resident_mb

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import Gaussians, Tracks, VoteTable
from ccl_lgs_ros.synthetic.scene import make_room_scene

PICTURE = Path(__file__).parents[1] / "docs" / "growth.png"
ROOM_PITCH = 12.0  # metres from room to room
ROOMS_ACROSS = 16  # rooms in a row of the building
BAR = 2.0  # the cost at the end over the cost at the beginning
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)


def room_keyframes(width: int, height: int, count: int) -> list[Keyframe]:
    """A drive through a room."""
    room = make_room_scene(3, width=width, height=height)
    return [
        replace(frame.keyframe(index), labels=frame.shapes + 1)
        for index, frame in enumerate(room.frames(count))
    ]  # fmt: skip


def place_of(room: int) -> np.ndarray:
    """Where a room of the building stands [3]."""
    return ROOM_PITCH * np.array([room % ROOMS_ACROSS, room // ROOMS_ACROSS, 0.0])


def moved(keyframe: Keyframe, room: int, number: int) -> Keyframe:
    """The keyframe as another room of the building would give it."""
    pose = keyframe.world_from_camera.copy()
    pose[:3, 3] += place_of(room)
    return replace(keyframe, id=number, stamp_ns=number + 1, world_from_camera=pose)


def new_session(folder: str, name: str, width: int) -> MapSession:
    """An empty map that takes segments from the images."""
    changes: dict[str, object] = {
        "perception.segmenter": "topic",
        "perception.encoder": "builtin",
        "gaussians.image_width": width,
        "gaussians.holdout_every": 0,
        "gaussians.max_gaussians": 10_000_000,
    }
    return MapSession(updated(MapConfig(), changes), MapDirectory.create(Path(folder) / name))


def taken_by(session: MapSession, keyframes: list[Keyframe]) -> list[float]:
    """The seconds that the live path takes for each; their segments are there already."""
    for keyframe in keyframes:
        session.perceiver.segments(keyframe)
    taken = []
    for keyframe in keyframes:
        began = time.perf_counter()
        session.add(keyframe)
        taken.append(time.perf_counter() - began)
    return taken


class Room:
    """What one room adds to a map, so that a building can be put up without driving through it."""

    def __init__(self, session: MapSession) -> None:
        self.gaussians: Gaussians = session.gaussians.select(torch.arange(len(session.gaussians)))
        self.levels: dict[str, tuple[VoteTable, Tracks]] = {
            name: (state.table, state.tracks) for name, state in session.live.levels.items()
        }

    def add_to(self, session: MapSession, room: int) -> None:
        """The room's Gaussians, votes and tracks, as if it had been mapped there."""
        place = torch.from_numpy(place_of(room)).float()
        session.geometry.store.append(replace(self.gaussians, means=self.gaussians.means + place))
        for name in LEVELS:
            table, tracks = self.levels[name]
            state = session.live.levels[name]
            track = torch.where(table.track >= 0, table.track + len(state.tracks), table.track)
            state.votes.append(replace(table, track=track))
            state.known.append(tracks)


def over_gaussians(folder: str, sizes: tuple[int, ...], keyframes: list[Keyframe], report: Report) -> list[dict]:
    """Seconds of the keyframes of a new room at every size of the map."""
    width = keyframes[0].camera.width
    first = new_session(folder, "first", width)
    taken_by(first, [moved(keyframe, 0, index) for index, keyframe in enumerate(keyframes)])
    room = Room(first)
    session, rooms, number, rows = new_session(folder, "building", width), 0, 0, []
    for size in sizes:
        while len(session.gaussians) + len(room.gaussians) <= size or rooms == 0:
            room.add_to(session, rooms)
            rooms += 1
        before = len(session.gaussians)
        taken = taken_by(session, [moved(keyframe, rooms, number + i) for i, keyframe in enumerate(keyframes)])
        number += len(keyframes)
        rows.append({"gaussians": before, "seconds": p50(taken), "worst": max(taken), "resident_mb": resident_mb()})
        report.add(f"keyframe into a map of {before:,} Gaussians, median", rows[-1]["seconds"] * 1e3, "ms")
        rooms += 1  # the room that was just mapped
    return rows


def over_keyframes(folder: str, count: int, keyframes: list[Keyframe], report: Report) -> list[dict]:
    """Seconds of keyframes around the 10th, 30th, ... of one session."""
    session = new_session(folder, "mission", keyframes[0].camera.width)
    mission = [moved(keyframes[n % len(keyframes)], n // len(keyframes), n) for n in range(count)]
    taken = taken_by(session, mission)
    rows, at = [], len(keyframes)
    while at <= count:
        window = taken[at - len(keyframes) : at]  # one whole room, so that like is compared with like
        rows.append({"keyframes": at, "seconds": p50(window), "worst": max(window)})
        report.add(f"keyframe {at:,} of a session, median of a room", rows[-1]["seconds"] * 1e3, "ms")
        at = count if at < count < 3 * at else 3 * at
    report.details["gaussians after the mission"] = len(session.gaussians)
    return rows


def draw(by_gaussians: list[dict], by_keyframes: list[dict], path: Path) -> None:
    """Both curves with the bar, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, rows, key, text in (
        (axes[0], by_gaussians, "gaussians", "Gaussians in the map"),
        (axes[1], by_keyframes, "keyframes", "keyframes in the session"),
    ):
        x, y = [row[key] for row in rows], [1e3 * row["seconds"] for row in rows]
        axis.plot(x, y, marker="o", color="#1f6f8b", label="one more keyframe")
        axis.axhline(BAR * y[0], color="#c0392b", linestyle="--", label=f"{BAR:g} times the first")
        axis.set(xscale="log", xlabel=text, ylabel="ms, median of a room", ylim=(0, 1.2 * max(*y, BAR * y[0])))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle("What the live path takes for a keyframe while the map grows")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small building: try the script, not the machine")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to draw the figures")
    arguments = parser.parse_args()
    quick = arguments.quick
    report = Report("growth", quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        drive = room_keyframes(64, 48, 4) if quick else room_keyframes(160, 120, 12)
        by_gaussians = over_gaussians(folder, SIZES[:2] if quick else SIZES, drive, report)
        small = room_keyframes(64, 48, 4 if quick else 20)
        by_keyframes = over_keyframes(folder, 12 if quick else 2000, small, report)
    for name, rows in (("2 M over 10 k Gaussians", by_gaussians), ("2000th over first keyframes", by_keyframes)):
        report.add(f"cost of a keyframe, {name}", rows[-1]["seconds"] / rows[0]["seconds"], "x", at_most=BAR)
    report.details |= {"gaussians": by_gaussians, "keyframes": by_keyframes}
    report.save()
    if not quick:
        draw(by_gaussians, by_keyframes, arguments.picture)
        print(f"drawn as {arguments.picture}")


if __name__ == "__main__":
    main()
