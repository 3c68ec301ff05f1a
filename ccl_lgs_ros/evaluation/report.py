# SPDX-License-Identifier: Apache-2.0
"""Scores as a table of text."""

from collections.abc import Mapping
from typing import Any

COLUMNS = (
    ("mIoU", "miou", "{:.3f}"),
    ("loc", "loc_acc", "{:.2f}"),
    ("consist.", "view_consistency", "{:.3f}"),
    ("centroid", "centroid_error_m", "{:.3f} m"),
    ("box IoU", "box_iou", "{:.3f}"),
    ("AP50", "ap50", "{:.2f}"),
    ("found/true", "", "{}"),
    ("views", "views", "{}"),
    ("score", "best_score", "{:.2f}"),
)


def table(figures: Mapping[str, Any], false_alarms: Mapping[str, bool]) -> str:
    """One line per prompt, then the figures of the whole set.

    Args:
        figures: as `ccl-lgs evaluate --json` prints them.
        false_alarms: by absent prompt, whether it was answered.
    """
    rows = [["prompt", *(title for title, _, _ in COLUMNS)]]
    for prompt, of_prompt in figures["per_category"].items():
        found = f"{of_prompt['instances']}/{'-' if of_prompt['objects'] is None else of_prompt['objects']}"
        rows.append([prompt, *(found if not key else _text(of_prompt[key], form) for _, key, form in COLUMNS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([*lines, "", *_summary(figures, false_alarms)])


def _summary(figures: Mapping[str, Any], false_alarms: Mapping[str, bool]) -> list[str]:
    of_prompts = figures["per_category"].values()
    views = sum(of_prompt["views"] for of_prompt in of_prompts)
    missed = sum(of_prompt["missed"] or 0 for of_prompt in of_prompts)
    lines = [
        f"mIoU {_text(figures['miou'], '{:.3f}')} over {views} labelled prompts in views; "
        f"above 0.25: {_text(figures['acc25'], '{:.0%}')}, above 0.5: {_text(figures['acc50'], '{:.0%}')}; "
        f"localised: {_text(figures['loc_acc'], '{:.0%}')}",
        f"view consistency {_text(figures['view_consistency'], '{:.3f}')}",
    ]
    if figures["centroid_error_m"] is not None or missed:
        lines.append(
            f"centroid error {_text(figures['centroid_error_m'], '{:.3f} m')} (median), "
            f"box IoU {_text(figures['box_iou'], '{:.3f}')} (mean); AP50 {_text(figures['ap50'], '{:.2f}')}; "
            f"objects missed: {missed}"
        )
    if figures["miou_3d"] is not None:
        lines.append(
            f"mIoU over Gaussians {_text(figures['miou_3d'], '{:.3f}')}, "
            f"weighted by volume and opacity {_text(figures['volume_miou_3d'], '{:.3f}')}"
        )
    if false_alarms:
        alarms = [prompt for prompt, is_answered in false_alarms.items() if is_answered]
        named = f": {', '.join(alarms)}" if alarms else ""
        lines.append(f"false alarms {len(alarms)} of {len(false_alarms)} absent prompts{named}")
    return lines


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
