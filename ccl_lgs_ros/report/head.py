# SPDX-License-Identifier: Apache-2.0
"""What the map is, how it was made and its figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ccl_lgs_ros.level_names import coarse_first
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.storage.snapshot import published_at

PARTS = {
    "rasterizer": "draws the Gaussians",
    "densifier": "adds Gaussians where they are missing",
    "segmenter": "finds masks in images",
    "encoder": "the language",
    "associator": "says which masks show one thing",
    "propagator": "follows masks through the images",
    "fitter": "fits the codebook",
    "lifter": "carries codes onto the Gaussians",
}
LEVEL_NAMES = {
    "wp": "whole things and parts",
    "sp": "parts and subparts",
    "l": "whole things",
    "m": "parts",
    "s": "subparts",
}
KIBI = 1024.0
PLAIN_NAME = "map"  # of a folder that says nothing of its own


class Figure(NamedTuple):
    """A number with what it counts."""

    value: str
    name: str
    note: str = ""


def section(subject: Subject) -> dict[str, Any]:
    """The head of the page."""
    semantic_map, directory = subject.map, subject.directory
    parts = subject.info.get("backends")
    changed = subject.info.get("options")
    return {
        "name": _name(directory.path.resolve()),
        "map_id": semantic_map.map_id,
        "version": semantic_map.version,
        "published": _moment(published_at(directory, semantic_map.version)),
        "encoder": semantic_map.encoder,
        "frame": semantic_map.map_frame,
        "up": ", ".join(f"{x:g}" for x in semantic_map.map_up),
        "figures": _figures(subject),
        "parts": [(kind, str(name), PARTS.get(kind, "")) for kind, name in _items(parts)],
        "options": [(name, _shown(value)) for name, value in _items(changed)],
        "knows_options": isinstance(changed, dict),
        "sizes": [(what, size_text(size)) for what, size in _sizes(subject).items() if size > 0],
    }


def size_text(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < KIBI:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= KIBI
    return f"{count:.1f} GiB"


def _figures(subject: Subject) -> list[Figure]:
    semantic_map, info = subject.map, subject.info
    found = [
        Figure(f"{len(subject.keyframes):,}", "keyframes", _refined_note(subject)),
        Figure(f"{len(semantic_map.gaussians):,}", "Gaussians"),
    ]
    for name in coarse_first(semantic_map.levels):
        level = semantic_map.levels[name]
        note = f"{_live_entries(info, name, len(level.codebook)):,} entries in use"
        found.append(Figure(f"{level.num_tracks:,}", f"tracks, {name}", note))
    held_out = info.get("held_out")
    if isinstance(held_out, dict) and isinstance(held_out.get("psnr"), float):
        views = held_out.get("views", 0)
        found.append(Figure(f"{held_out['psnr']:.1f} dB", "PSNR", f"mean of {views} keyframes that gave no colour"))
        found.append(Figure(f"{100 * held_out.get('covered', 0.0):.1f} %", "covered", "of those pictures' pixels"))
    total = sum(_sizes(subject).values())
    found.append(Figure(size_text(total), "on disk"))
    return found


def _refined_note(subject: Subject) -> str:
    refined = subject.info.get("refined")
    if not isinstance(refined, int):
        return ""
    behind = len(subject.keyframes) - refined
    return f"{behind:,} since the last refine" if behind > 0 else "all refined"


def _live_entries(info: Mapping[str, Any], level: str, size: int) -> int:
    entries = info.get("entries")
    used = entries.get(level) if isinstance(entries, dict) else None
    return used if isinstance(used, int) else size


def _sizes(subject: Subject) -> dict[str, int]:
    """Bytes on the disk by what they hold."""
    directory = subject.directory
    version = _bytes_in(directory.snapshot_path(subject.map.version))
    return {
        f"version {subject.map.version}": version,
        "versions before it": _bytes_in(directory.snapshots_path) - version,
        "keyframes": _bytes_in(directory.keyframes_path),
        "segments (may be deleted)": _bytes_in(directory.segments_path),
        "working state (may be deleted)": _bytes_in(directory.session_path),
    }


def _bytes_in(folder: Path) -> int:
    """What a file or the files of a folder take; those that go away meanwhile count nothing."""
    total = 0
    for path in (folder, *folder.rglob("*")):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _items(mapping: object) -> list[tuple[str, Any]]:
    return [(str(name), value) for name, value in mapping.items()] if isinstance(mapping, dict) else []


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _name(path: Path) -> str:
    """What people call a map: its folder, or the one around it where that says nothing."""
    return path.parent.name if path.name == PLAIN_NAME and path.parent.name else path.name


def _moment(stamp: str) -> str:
    """2026-11-21T22:23:11+00:00 as 2026-11-21 22:23 UTC."""
    return stamp.replace("T", " ")[:16] + (" UTC" if stamp.endswith("+00:00") else "")
