# SPDX-License-Identifier: Apache-2.0
"""What a map weighs, on disk and in memory: python benchmarks/memory.py [--quick].

snapshot   1 M Gaussians, two levels, published and opened: seconds, bytes per Gaussian, memory beside the map's;
           then every array touched for the first time
votes      bytes of the working votes per Gaussian
mission    resident memory over 2000 tiny keyframes that are stored and read back, and over some hundred that are
           mapped as well; `make soak` maps 10 000
"""

import argparse
import os
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from harness import Report, best, copy_bytes_per_s, p50, paired, peak_mb, resident_mb
from mission import Course, drive
from safetensors.numpy import load_file

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import Codebook, Gaussians, SemanticLevel, SemanticMap, VoteTable

NUM_GAUSSIANS, NUM_TRACKS, NUM_ENTRIES, DIM = 1_000_000, 2000, 128, 512
MAX_SAVE_S, MAX_OPEN_S, MAX_SEMANTIC_BYTES = 3.0, 0.5, 6.0
MAX_SLOPE = 2.0  # MB for 1000 keyframes
ROUNDS = 5
PLY_FLOATS = 17  # of a Gaussian of degree 0


def make_map(count: int, sh_degree: int = 0) -> SemanticMap:
    """A map with numbers of no meaning."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def whole(low: int, high: int, size: int, kind: torch.dtype) -> torch.Tensor:
        return torch.randint(low, high, (size,), generator=generator, dtype=kind)

    levels = {
        name: SemanticLevel(
            track_of_gaussian=whole(-1, NUM_TRACKS, count, torch.int32),
            confidence=whole(0, 256, count, torch.uint8),
            entry_of_track=whole(0, NUM_ENTRIES, NUM_TRACKS, torch.int64),
            codebook=Codebook(entries=some(NUM_ENTRIES, DIM), weight=some(NUM_ENTRIES).abs()),
        )
        for name in LEVELS
    }
    gaussians = Gaussians(
        means=some(count, 3),
        quats=some(count, 4),
        log_scales=some(count, 3),
        logit_opacities=some(count),
        sh=some(count, (sh_degree + 1) ** 2, 3),
    )
    return SemanticMap(gaussians=gaussians, levels=levels, encoder="none")


def plain_write_s(folder: Path, size: int) -> float:
    """Seconds to write so many bytes to the disk and wait for it: the floor of saving."""
    path, content = folder / "plain", np.ones(size, np.uint8)

    def write() -> None:
        with path.open("wb") as file:
            content.tofile(file)
            file.flush()
            os.fsync(file.fileno())

    (seconds,) = paired(write, rounds=ROUNDS)
    path.unlink()
    return best(seconds)


def snapshots(report: Report, folder: Path, count: int) -> None:
    """Publish and open a large map."""
    directory = MapDirectory.create(folder / "map")
    semantic_map = make_map(count)
    begun = resident_mb()
    before = peak_mb()
    publish(directory, semantic_map)
    grown = max(peak_mb() - max(before, begun), 0.0)
    saving, opening = paired(lambda: publish(directory, semantic_map), lambda: load(directory), rounds=ROUNDS)
    files = {path.name: path.stat().st_size for path in directory.snapshot_path(directory.newest_version()).iterdir()}
    size = sum(files.values())
    floor = plain_write_s(folder, size)
    report.add("save", p50(saving), "s", at_most=MAX_SAVE_S, floor=floor, note="the floor writes and syncs the bytes")
    content = np.ones(size, np.uint8)
    (summing,) = paired(lambda: zlib.crc32(content), rounds=ROUNDS)
    note = "the floor is the sum of CRC-32 alone: nothing is opened unchecked; the Gaussians are mapped, not read"
    report.add("open", p50(opening), "s", at_most=MAX_OPEN_S, floor=best(summing), note=note)
    report.add("memory for saving beside the map, peak", grown, "MB")
    report.details["files"] = files
    stored = load_file(directory.snapshot_path(directory.newest_version()) / "semantics.safetensors")
    rows = [array.nbytes for name, array in stored.items() if name.endswith((".track", ".confidence"))]
    report.add("semantics in a snapshot", sum(rows) / count, "B", at_most=MAX_SEMANTIC_BYTES)
    report.add("Gaussians in a snapshot", files["splat.ply"] / count, "B", floor=4 * PLY_FLOATS)
    touch(report, directory, size)


def touch(report: Report, directory: MapDirectory, size: int) -> None:
    """Every array of an opened map, read for the first time."""
    opened_from = resident_mb()
    found = load(directory)
    opened = resident_mb()
    began = time.perf_counter()
    for tensor in found.gaussians.tensors().values():
        tensor.sum()
    seconds = time.perf_counter() - began
    report.add("open: memory before anything is touched", max(opened - opened_from, 0.0), "MB")
    floor = 1e3 * size / copy_bytes_per_s(64 << 20)
    note = "the floor reads the bytes once; beside it each page of 4 kB faults once, and a row is met once per array"
    report.add("first touch of every array", 1e3 * seconds, "ms", floor=floor, note=note)


def votes(report: Report, count: int) -> None:
    """The working votes of a map."""
    slots = MapConfig().field.slots
    tables = [VoteTable.empty(count, slots) for _ in LEVELS]
    held = sum(t.numel() * t.element_size() for table in tables for t in (table.track, table.weight, table.lost))
    held += sum(table.visibility.numel() * table.visibility.element_size() for table in tables)
    bound = len(LEVELS) * (8 * slots + 8)
    report.add(f"working votes of both levels, {slots} slots", held / count, "B", at_most=bound)


def missions(report: Report, folder: Path, stored: int, mapped: int) -> None:
    """Memory over keyframes."""
    course = drive(folder / "stored", stored, maps=False)
    report.details["stored"] = samples(course)
    name = f"resident memory per 1000 keyframes, {stored} stored and read"
    report.add(name, course.slope, "MB", at_most=MAX_SLOPE, note="some 0.7 MB are what is known of each keyframe")
    course = drive(folder / "mapped", mapped)
    report.details["mapped"] = samples(course)
    name = f"resident memory per 1000 keyframes, {mapped} mapped"
    report.add(name, course.slope, "MB", note="allocators still settle; the bar is held over 10 000, by make soak")


def samples(course: Course) -> list[tuple[int, float]]:
    """Keyframes and megabytes."""
    return [(at, round(held, 1)) for at, held in zip(course.keyframes, course.megabytes, strict=True)]


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: try the script, not the machine")
    quick = parser.parse_args().quick
    report = Report("memory", quick=quick)
    count = 20_000 if quick else NUM_GAUSSIANS
    with tempfile.TemporaryDirectory() as folder:
        snapshots(report, Path(folder), count)
        votes(report, count)
        missions(report, Path(folder), *((20, 20) if quick else (2000, 600)))
    report.save()


if __name__ == "__main__":
    main()
