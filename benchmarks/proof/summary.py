# SPDX-License-Identifier: Apache-2.0
"""The trials summed up: thresholds from the other rooms, means with bootstrap intervals, and the table."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.evaluation.calibration import left_out_thresholds
from proof.conditions import SWEPT
from proof.scoring import THRESHOLDS

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # per cent
FIGURES = ("miou", "consistency", "false_alarms", "iou_3d")
GAINS = ("miou", "consistency", "miou_free", "consistency_free")
COLUMNS = (
    ("mIoU 2D", "miou"),
    ("view consistency", "consistency"),
    ("mIoU 2D, any false alarms", "miou_free"),
    ("view consistency, any false alarms", "consistency_free"),
    ("false alarms", "false_alarms"),
    ("IoU 3D", "iou_3d"),
    ("track purity", "purity"),
    ("completeness", "completeness"),
)
BASELINE, CCL, OURS = (
    "ablation of the paper | codebook only",
    "ablation of the paper | pull and push (CCL)",
    "ours, on the contrastive codebook | CCL + votes + robust mean",
)


def summary(trials: Sequence[dict], order: Sequence[str]) -> dict:
    """By condition the means with their intervals, and the gains over the baseline."""
    at = {key: [trial for trial in trials if trial["condition"] == key] for key in order}
    found = {key: _of_condition(rows) for key, rows in at.items() if rows}
    pairs = [("CCL over codebook only", CCL, BASELINE), ("ours over codebook only", OURS, BASELINE)]
    for strength in SWEPT:
        group = f"noise {strength:g}"
        pairs += [(f"{name} at {group}", f"{group} | {name}", f"{group} | codebook only") for name in ("CCL", "ours")]
    gains = {}
    for name, better, worse in pairs:
        if better in found and worse in found:
            gains[name] = {figure: _gain(found[better], found[worse], figure) for figure in GAINS}
    means = {key: {k: v for k, v in row.items() if k != "units"} for key, row in found.items()}
    return {"conditions": means, "gains": gains}


def bootstrapped(values: NDArray[np.floating], rooms: NDArray[np.integer]) -> tuple[float, float, float]:
    """The mean and its 95 % interval; rooms are drawn anew, and each brings all its seeds."""
    by_room = np.array([values[rooms == room].mean() for room in np.unique(rooms)])
    random = np.random.default_rng(23)
    drawn = by_room[random.integers(len(by_room), size=(RESAMPLES, len(by_room)))].mean(1)
    low, high = np.percentile(drawn, INTERVAL)
    return float(by_room.mean()), float(low), float(high)


def table(result: dict) -> str:
    """The means as a markdown table, a group after the other."""
    heads = [title for title, _ in COLUMNS] + ["associate s", "codebook s", "lift s", "KB", "PSNR"]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    group = ""
    for key, row in result["conditions"].items():
        own, _, name = key.partition(" | ")
        if own != group:
            group = own
            lines.append(f"| **{group}** " + "| " * len(heads) + "|")
        cells = [_cell(row[figure]) for _, figure in COLUMNS]
        cells += [f"{row['seconds'][stage]:.1f}" for stage in ("associate", "codebook", "lift")]
        cells.append(f"{row['bytes'] / 1e3:.0f}")
        cells.append(f"{row['psnr']:.2f}" if "psnr" in row else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Gains in points, with 95 % intervals:", ""]
    lines.append("| | " + " | ".join(title for title, figure in COLUMNS if figure in GAINS) + " |")
    lines.append("|---" * (len(GAINS) + 1) + "|")
    for name, gain in result["gains"].items():
        lines.append(f"| {name} | " + " | ".join(_cell(gain[figure], sign="+") for figure in GAINS) + " |")
    return "\n".join(lines)


def _of_condition(rows: list[dict]) -> dict:
    rooms = np.array([row["room"] for row in rows])
    curves = {figure: np.array([row["scores"][figure] for row in rows]) for figure in FIGURES}
    names = np.unique(rooms)
    ious, alarms = (
        np.array([curves[figure][rooms == room].mean(0) for room in names]) for figure in ("miou", "false_alarms")
    )
    position = dict(zip(names.tolist(), left_out_thresholds(THRESHOLDS.tolist(), ious, alarms), strict=True))
    free = left_out_thresholds(THRESHOLDS.tolist(), ious, alarms, max_false_alarms=1.0)
    free_position = dict(zip(names.tolist(), free, strict=True))
    units = {name: _at(curve, position, rooms) for name, curve in curves.items()}
    units |= {f"{name}_free": _at(curves[name], free_position, rooms) for name in ("miou", "consistency")}
    units |= {name: np.array([row["tracks"][name] for row in rows]) for name in ("purity", "completeness", "untracked")}
    keys = list(zip(rooms.tolist(), [row["seed"] for row in rows], strict=True))
    found: dict = {name: bootstrapped(values, rooms) for name, values in units.items()}
    found["thresholds"] = sorted({float(THRESHOLDS[index]) for index in position.values()})
    found["seconds"] = {stage: float(np.mean([row["seconds"][stage] for row in rows])) for stage in rows[0]["seconds"]}
    found["bytes"] = float(np.mean([row["bytes"] for row in rows]))
    found["gaussians"] = float(np.mean([row["gaussians"] for row in rows]))
    if "psnr" in rows[0]:
        found["psnr"] = float(np.mean([row["psnr"] for row in rows]))
    found["units"] = {name: dict(zip(keys, values.tolist(), strict=True)) for name, values in units.items()}
    return found


def _at(curve: NDArray[np.floating], position: dict[int, int], rooms: NDArray[np.integer]) -> NDArray[np.floating]:
    """The figures [S] of trials [S, n] at the threshold of their rooms [S]."""
    return np.array([values[position[room]] for values, room in zip(curve, rooms.tolist(), strict=True)])


def _gain(better: dict, worse: dict, figure: str) -> tuple[float, float, float]:
    """The mean difference in the same rooms and seeds, with its interval."""
    first, second = better["units"][figure], worse["units"][figure]
    keys = sorted(first.keys() & second.keys())
    difference = np.array([first[key] - second[key] for key in keys])
    return bootstrapped(difference, np.array([room for room, _ in keys]))


def _cell(values: tuple[float, float, float], sign: str = "") -> str:
    mean, low, high = (100 * value for value in values)
    return f"{mean:{sign}.1f} ({low:.1f} to {high:.1f})"
