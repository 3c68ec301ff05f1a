# SPDX-License-Identifier: Apache-2.0
"""The trials of all recipes summed up: means over rooms with bootstrap intervals, and the tables."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from proof.summary import bootstrapped

from ccl_lgs_ros.evaluation.calibration import left_out_thresholds

SHARES = (  # figure, heading; of which more is better but for false alarms
    ("miou", "2D mIoU"),
    ("miou_3d", "3D mIoU"),
    ("volume_miou_3d", "3D mIoU by volume"),
    ("loc_acc", "localised"),
    ("view_consistency", "view consistency"),
    ("false_alarm_rate", "false alarms"),
    ("ap50", "AP50"),
)
COSTS = (  # figure, heading, digits
    ("seconds_per_keyframe", "s per keyframe", 2),
    ("refine_seconds", "refine s", 1),
    ("query_ms", "query ms", 1),
    ("bytes_per_gaussian", "bytes per Gaussian", 0),
    ("psnr", "PSNR", 2),
)
DEFAULT = "default"


def summary(trials: Sequence[dict]) -> dict[str, dict[str, dict]]:
    """By "rooms" and by the name of each recording: recipe -> figure -> mean, low, high."""
    groups = {"rooms": [t for t in trials if t["place"].startswith("room ")]}
    for place in dict.fromkeys(t["place"] for t in trials if not t["place"].startswith("room ")):
        groups[place] = [t for t in trials if t["place"] == place]
    return {group: _of_group(rows) for group, rows in groups.items() if rows}


def _of_group(trials: Sequence[dict]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for name in dict.fromkeys(trial["recipe"] for trial in trials):
        rows = [trial for trial in trials if trial["recipe"] == name]
        failed = sorted({trial["error"] for trial in rows if "error" in trial})
        if failed:
            found[name] = {"error": "; ".join(failed)}
            continue
        places = np.unique([trial["place"] for trial in rows], return_inverse=True)[1]
        chosen = _thresholds(rows, places)
        figures = [
            {**row["figures"], **row["figures"]["answers"][chosen[at]]} for row, at in zip(rows, places, strict=True)
        ]
        for figure, *_ in (*SHARES, *COSTS):
            known = np.array([row[figure] is not None for row in figures])
            if known.any():  # a view or two may have nothing to compare with
                values = np.array([row[figure] for row in figures if row[figure] is not None])
                found.setdefault(name, {})[figure] = bootstrapped(values, places[known])
    return found


def _thresholds(rows: Sequence[dict], places: NDArray[np.integer]) -> list[int]:
    """For each place the position of the threshold that is best in all others; in its own where there are none."""
    answers = [row["figures"]["answers"] for row in rows]
    positions = range(len(answers[0]))
    ious, alarms = (
        np.array([[answer[figure] for answer in of_row] for of_row in answers])
        for figure in ("miou", "false_alarm_rate")
    )
    means = [np.array([curve[places == place].mean(axis=0) for place in np.unique(places)]) for curve in (ious, alarms)]
    return left_out_thresholds(positions, *means)


def tables(result: dict[str, dict[str, dict]]) -> str:
    """Markdown: the rooms in two tables, what answers are worth and what they cost; one table of each recording."""
    parts = []
    for group, rows in result.items():
        known = {figure for row in rows.values() for figure in row}
        shares = [(figure, title, -1) for figure, title in SHARES if figure in known]
        title = "Synthetic rooms" if group == "rooms" else f"Recording: the {group}"
        parts.append(f"**{title}**\n\n{_table(rows, shares)}\n\n{_table(rows, COSTS)}")
    return "\n\n".join(parts)


def _table(rows: dict[str, dict], columns: Sequence[tuple[str, str, int]]) -> str:
    lines = [f"| recipe | {' | '.join(title for _, title, _ in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = ["failed" if "error" in row else _cell(row.get(figure), digits) for figure, _, digits in columns]
        lines.append(f"| {f'`{name}`' if name else DEFAULT} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float] | None, digits: int) -> str:
    """Shares in per cent with their interval where there is one; costs as a mean."""
    if values is None:
        return ""
    mean, low, high = values
    if digits >= 0:
        return f"{mean:.{digits}f}"
    return f"{100 * mean:.1f}" + (f" ({100 * low:.0f} to {100 * high:.0f})" if high > low else "")
