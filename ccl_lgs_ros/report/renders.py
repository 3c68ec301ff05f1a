# SPDX-License-Identifier: Apache-2.0
"""The map beside the photos that it did not learn its colours from."""

import math
from typing import Any

import numpy as np

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.gaussians.psnr import psnr_report
from ccl_lgs_ros.pictures import Image, heat, rendered_color
from ccl_lgs_ros.report.pictures_inside import inside
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.structures import Rendering

MOST_SCORED = 48  # keyframes, evenly spread over those that were held out
SHOWN = 2  # of the best, and of the worst
FULL_ERROR = 0.25  # of full brightness; what is off by more has the last colour
MIN_ALPHA = 0.5  # what the map covers less of a pixel is not counted as error
GOOD_PSNR = 35.0  # decibels at which a bar is full


def section(subject: Subject) -> dict[str, Any]:
    """Each held-out keyframe's PSNR, and the best and the worst beside what the map shows from there."""
    if not subject.num_shown:
        return {"missing": "The map holds no keyframes, so there is no photo to put beside a rendering."}
    places = subject.held_out
    is_held_out = bool(places)
    if not is_held_out:
        places = subject.spread(2 * SHOWN).tolist()
    chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_SCORED)).astype(int))]
    scored = []
    for done, place in enumerate(chosen, start=1):
        report = psnr_report(subject.map.gaussians, [subject.view(place)], subject.rasterizer, [0])
        scored.append((report["psnr"], report["covered"], place))
        subject.progress("compare", done, len(chosen))
    ranked = sorted((row for row in scored if math.isfinite(row[0])), reverse=True)
    if len(ranked) <= 2 * SHOWN:
        groups = [("all of them, best first", ranked)]
    else:
        groups = [("the best", ranked[:SHOWN]), ("the worst", ranked[-SHOWN:])]
    return {
        "is_held_out": is_held_out,
        "left_out": len(subject.held_out) - len(chosen) if is_held_out else 0,
        "bars": [
            {"place": place, "psnr": value, "covered": 100 * covered, "share": 100 * min(value / GOOD_PSNR, 1.0)}
            for value, covered, place in scored
            if math.isfinite(value)
        ],
        "full": GOOD_PSNR,
        "full_error": f"{100 * FULL_ERROR:.0f} %",
        "groups": [(title, [_row(subject, *row) for row in rows]) for title, rows in groups],
    }


def _row(subject: Subject, value: float, covered: float, place: int) -> dict[str, Any]:
    view = subject.view(place)
    rendering = subject.rendering(view)
    return {
        "place": place,
        "psnr": value,
        "covered": 100 * covered,
        "photo": inside(view.image),
        "render": inside(rendered_color(rendering.color.numpy(force=True))),
        "error": inside(error_picture(view, rendering)),
    }


def error_picture(view: Keyframe, rendering: Rendering) -> Image:
    """How far each pixel is off, as heat over the grey photo; grey where the map shows nothing."""
    shown = np.clip(rendering.color.numpy(force=True), 0.0, 1.0)
    error = np.abs(shown - view.image / 255.0).mean(axis=2) / FULL_ERROR
    error[rendering.alpha.numpy(force=True) < MIN_ALPHA] = 0.0
    return heat(error, view.image)
