# SPDX-License-Identifier: Apache-2.0
"""How fast a map of a million Gaussians answers: python benchmarks/query.py [--quick].

A made-up floor of rooms (query_scene.py) is asked with one text and four generic ones, from the moment the texts are
vectors. Measured are the Gaussians that match, the relevancy of all of them, and things with boxes; the relevancy is
taken turn by turn with that of other ways to keep language on Gaussians (query_controls.py). Then a published snapshot
of the same size is opened and asked by a process of its own, from its start to its first answer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness import Report, best, copy_bytes_per_s, p50, paired, resident_mb
from query_controls import SparseCodes, agrees, dense_scores
from query_scene import DIM, FIRST_KIND, KINDS, QueryScene, make_scene
from torch import Tensor

from ccl_lgs_ros.answers import Answer, Prompt
from ccl_lgs_ros.perception.builtin_encoder import BuiltinEncoder
from ccl_lgs_ros.perception.text_relevancy import text_relevancy
from ccl_lgs_ros.query.answer import MapIndex, answer
from ccl_lgs_ros.query.relevancy import LevelRelevancy, TrackIndex, relevancy_of_gaussians, relevancy_of_tracks
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish
from ccl_lgs_ros.structures import Codebook, SemanticLevel, SemanticMap

SHARPNESS, THRESHOLD = 10.0, 0.5
NUM_ENTRIES, MANY_ENTRIES = 1024, 8192
MATCHED_BAR_MS, DENSE_BAR_MS, MANY_BAR_MS, THINGS_BAR_MS = 1.0, 6.0, 25.0, 60.0
ANSWER_BAR_S, PROCESS_BAR_S = 2.0, 6.0
CORES = 2
TRACK_BYTES, SCORE_BYTES = 2, 4  # of each Gaussian: its track as u16, its score as float32
MATCH_BYTES = 4 + 1 + 12 + 12 + 4  # of each match: number, confidence, mean, scales, opacity
COMPARE_S = 1e-9  # one step of a sort

FIRST_ANSWER = """
import json, sys, time
from pathlib import Path
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
imported = time.monotonic()
semantic_map = load(MapDirectory.open(Path(sys.argv[1])))
opened = time.monotonic()
found = query_map(semantic_map, sys.argv[2], MapConfig())
answered = time.monotonic()
cpu = time.process_time()
print(json.dumps([imported, opened, answered, cpu, len(found.instances), len(semantic_map.gaussians)]))
"""


def relevancy(level: SemanticLevel, prompt: Tensor, negatives: Tensor) -> Tensor:
    """Of the entries [K], as ClipEncoder has it."""
    return text_relevancy(level.codebook.entries, prompt, negatives, sharpness=SHARPNESS, form="pairwise")


def matched_ids(scene: QueryScene, index: TrackIndex, prompt: Tensor) -> np.ndarray:
    """The Gaussians [n] that match a prompt at the coarse level."""
    level = scene.semantic_map.levels["wp"]
    of_track = relevancy_of_tracks(level, relevancy(level, prompt, scene.negatives)).numpy()
    return index.gaussians_of(np.flatnonzero(of_track >= THRESHOLD))[0]


def ask(scene: QueryScene, index: MapIndex, kind: int, level: str = "auto") -> Answer:
    """Things with boxes, with the defaults of the options."""
    found = {
        name: LevelRelevancy.of_entries(of_name, relevancy(of_name, scene.prompts[kind], scene.negatives))
        for name, of_name in scene.semantic_map.levels.items()
    }
    return answer(
        scene.semantic_map,
        Prompt(text="", feature=scene.prompts[kind]),
        found,
        threshold=THRESHOLD,
        max_instances=10,
        min_gaussians=15,
        connect_distance=0.0,
        level=level,
        index=index,
    )


def measure_ids(report: Report, scene: QueryScene, index: MapIndex, kind: int, rounds: int, speed: float) -> int:
    """Time the Gaussians that match; returns how many they are."""
    level = scene.semantic_map.levels["wp"]
    (made,) = paired(lambda: TrackIndex.of(level), rounds=3)
    report.add("index of one level, made once per map", 1e3 * best(made), "ms")
    (taken,) = paired(lambda: matched_ids(scene, index["wp"], scene.prompts[kind]), rounds=10 * rounds)
    count = len(matched_ids(scene, index["wp"], scene.prompts[kind]))
    moved = level.codebook.entries.nbytes + 5 * level.num_tracks * 4 + 8 * count
    report.add(
        f"matched ids, K = {NUM_ENTRIES}, {count} match",
        1e3 * best(taken),
        "ms",
        at_most=MATCHED_BAR_MS,
        floor=1e3 * moved / speed,
        note="floor: entries read once, ids read and written",
    )
    return count


def measure_scores(report: Report, scene: QueryScene, rounds: int, speed: float) -> None:
    """Time the relevancy of all Gaussians beside the controls, turn by turn."""
    level, prompt, negatives = scene.semantic_map.levels["wp"], scene.prompts[FIRST_KIND], scene.negatives
    count = len(level.track_of_gaussian)
    features = level.codebook.entries[level.entry_of_track][level.track_of_gaussian.long()]
    langsplat = SparseCodes(level.codebook.entries[:64], 4, count)
    embodied = SparseCodes(level.codebook.entries, 5, count)
    with ThreadPoolExecutor(CORES) as pool:
        work: list[Callable[[], object]] = [
            lambda: relevancy_of_gaussians(level, relevancy(level, prompt, negatives)),
            lambda: langsplat.scores(prompt, negatives, SHARPNESS, pool, CORES),
            lambda: embodied.scores(prompt, negatives, SHARPNESS, pool, CORES),
            lambda: dense_scores(features, prompt, negatives, SHARPNESS),
        ]
        taken = paired(*work, rounds=rounds)
        ours, of_dense = work[0](), work[3]()
        assert torch.allclose(ours, of_dense, atol=1e-4), "the same language must have the same scores"
        for codes in (langsplat, embodied):
            found = codes.scores(prompt, negatives, SHARPNESS, pool, CORES)
            assert agrees(codes, prompt, negatives, SHARPNESS, found), "a control does not compute what it should"
    moved = level.codebook.entries.nbytes + count * (TRACK_BYTES + SCORE_BYTES)
    report.add(
        f"dense scores, K = {NUM_ENTRIES}",
        1e3 * best(taken[0]),
        "ms",
        at_most=DENSE_BAR_MS,
        floor=1e3 * moved / speed,
        note="floor: entries and a track of 2 bytes read, a score of 4 bytes written; we read 4 bytes, on one core",
    )
    names = ("4 of 64 coefficients (LangSplatV2)", "5 indices + 5 weights (EmbodiedSplat)", f"dense {DIM}-d product")
    sizes = (langsplat.bytes_per_gaussian, embodied.bytes_per_gaussian, 4.0 * DIM)
    for name, size, others in zip(names, sizes, taken[1:], strict=True):
        ratio = best(others) / best(taken[0])
        report.add(f"{name}: its time over ours", ratio, "x", at_least=1.0, note=f"{size:.0f} bytes a Gaussian")
        report.details[name] = {"ms": 1e3 * best(others), "bytes_per_gaussian": size}


def measure_many_entries(report: Report, scene: QueryScene, rounds: int, speed: float) -> None:
    """Time the scores with a large codebook."""
    level = scene.semantic_map.levels["wp"]
    generator = torch.Generator().manual_seed(1)
    large = SemanticLevel(
        track_of_gaussian=torch.randint(MANY_ENTRIES, level.track_of_gaussian.shape, generator=generator).int(),
        confidence=level.confidence,
        entry_of_track=torch.randperm(MANY_ENTRIES, generator=generator),
        codebook=Codebook(
            entries=torch.nn.functional.normalize(torch.randn(MANY_ENTRIES, DIM, generator=generator), dim=1),
            weight=torch.ones(MANY_ENTRIES),
        ),
    )
    (taken,) = paired(
        lambda: relevancy_of_gaussians(large, relevancy(large, scene.prompts[0], scene.negatives)), rounds=rounds
    )
    moved = large.codebook.entries.nbytes + len(large.track_of_gaussian) * (TRACK_BYTES + SCORE_BYTES)
    report.add(
        f"dense scores, K = {MANY_ENTRIES}, tracks in no order",
        1e3 * best(taken),
        "ms",
        at_most=MANY_BAR_MS,
        floor=1e3 * moved / speed,
        note="floor: as above; products with the negatives are computed anew each time",
    )


def measure_things(
    report: Report, scene: QueryScene, index: MapIndex, kind: int, count: int, rounds: int, speed: float
) -> None:
    """Time things with boxes: of every kind of thing, of the one that most Gaussians match, of floors."""
    floor = count * (MATCH_BYTES / speed + np.log2(max(count, 2)) * COMPARE_S)
    kinds = range(FIRST_KIND, KINDS, 20 if report.quick else 1)
    seconds = [paired(lambda kind=kind: ask(scene, index, kind), rounds=3)[0] for kind in kinds]
    report.add("things with boxes, any kind", 1e3 * p50([p50(s) for s in seconds]), "ms", at_most=THINGS_BAR_MS)
    work = [lambda level=level: ask(scene, index, kind, level) for level in ("auto", "wp", "sp")]
    for name, taken, asked in zip(("auto", "whole", "parts"), paired(*work, rounds=rounds), work, strict=True):
        report.add(
            f"things with boxes, {count} match, {len(asked().instances)} found, level {name}",
            1e3 * p50(taken),
            "ms",
            at_most=THINGS_BAR_MS,
            floor=1e3 * floor,
            note="floor: what matched read once and sorted once; most of the rest looks for neighbours (k-d tree), "
            "finds connected pieces and boxes; far above the processor time below, other programs held the cores; "
            "next: one compiled grid for neighbours and pieces",
        )
    spent = 1e3 * p50([processor_seconds(work[0]) for _ in range(rounds)])
    report.add(
        "  processor time of that, level auto", spent, "ms", note="of all threads, which other programs change less"
    )
    (taken,) = paired(lambda: ask(scene, index, 0), rounds=3)
    matches = len(matched_ids(scene, index["wp"], scene.prompts[0]))
    report.add(f"all floors, {matches} match", 1e3 * p50(taken), "ms", note="more than a thing has; no bar")
    report.add("memory of the indices of both levels", index.num_bytes / 1e6, "MB")


def processor_seconds(work: Callable[[], object]) -> float:
    """Of all threads together: what other programs on the machine change little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def speaking_colours(semantic_map: SemanticMap, seed: int = 0) -> SemanticMap:
    """The same map in the language of the built-in encoder, which needs no weights to be asked."""
    generator = torch.Generator().manual_seed(seed)
    levels = {}
    for name, level in semantic_map.levels.items():
        shares = torch.rand(len(level.codebook), BuiltinEncoder().dim, generator=generator) ** 8
        codebook = Codebook(entries=(shares / shares.sum(dim=1, keepdim=True)).sqrt(), weight=level.codebook.weight)
        levels[name] = replace(level, codebook=codebook)
    return replace(semantic_map, levels=levels, encoder=BuiltinEncoder().identity)


def measure_first_answer(report: Report, semantic_map: SemanticMap, rounds: int) -> None:
    """Time a process that opens a published snapshot and asks it, from its start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map"
        publish(MapDirectory.create(path), speaking_colours(semantic_map))
        stamps = []
        for _ in range(rounds):
            began = time.monotonic()
            command = [sys.executable, "-c", FIRST_ANSWER, str(path), "red"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            stamps.append((began, *json.loads(done.stdout.splitlines()[-1])))
    assert all(found and count == len(semantic_map.gaussians) for *_, found, count in stamps)
    began, imported, opened, answered, cpu, *_ = min(stamps, key=lambda s: s[3] - s[0])
    note = "files in the page cache, as after publishing"
    report.add("first answer after imports", answered - imported, "s", at_most=ANSWER_BAR_S, note=note)
    report.add("  of which opening the snapshot", opened - imported, "s")
    report.add("  of which encoder, index and answer", answered - opened, "s")
    report.add("first answer after the process starts", answered - began, "s", at_most=PROCESS_BAR_S, note=note)
    report.add("  of which imports", imported - began, "s")
    report.add("  processor time of all of it", cpu, "s")


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small map: try the script, not the machine")
    quick = parser.parse_args().quick
    count, rounds = (30_000, 2) if quick else (1_000_000, 7)
    report = Report("query", quick=quick)
    speed = copy_bytes_per_s(1 << 22 if quick else 256 << 20)
    scene = make_scene(count, NUM_ENTRIES)
    index = MapIndex(scene.semantic_map)
    sizes = {kind: len(matched_ids(scene, index["wp"], scene.prompts[kind])) for kind in range(FIRST_KIND, KINDS)}
    biggest = max(sizes, key=sizes.__getitem__)
    report.details |= {
        "gaussians": count,
        "tracks": {name: level.num_tracks for name, level in scene.semantic_map.levels.items()},
        "copy_gb_per_s": speed / 1e9,
        "matches": sorted(sizes.values()),
    }
    matches = measure_ids(report, scene, index, biggest, rounds, speed)
    measure_things(report, scene, index, biggest, matches, rounds, speed)
    measure_many_entries(report, scene, rounds, speed)
    report.add("memory with the map and its indices", resident_mb(), "MB")
    measure_scores(report, scene, rounds, speed)
    measure_first_answer(report, scene.semantic_map, 1 if quick else 2)
    report.save()


if __name__ == "__main__":
    main()
