# SPDX-License-Identifier: Apache-2.0
"""The action BuildMap in the words of the worker process, and back."""

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.ros.worker_messages import Build, Finished, Report

STAGE_SPANS = {  # where each stage lies in the progress of a whole build
    "corrections": (0.0, 0.1),
    "keyframes": (0.1, 0.38),
    "changes": (0.38, 0.4),
    "carve": (0.4, 0.45),
    "fill": (0.45, 0.5),
    "optimize": (0.5, 0.75),
    "score": (0.75, 0.77),
    "associate": (0.77, 0.83),
    "track": (0.83, 0.87),
    "codebook": (0.87, 0.9),
    "distill": (0.9, 0.96),
    "register": (0.96, 0.98),
    "decode": (0.98, 1.0),
}


def build_of(goal: BuildMap.Goal) -> Build:
    """What a goal asks of the worker."""
    return Build(
        job=0,
        from_scratch=goal.from_scratch,
        refine=goal.refine,
        iterations=goal.iterations,
        min_keyframes=goal.min_keyframes,
        max_duration=goal.max_duration,
    )


def result_of(finished: Finished) -> BuildMap.Result:
    """The result of a goal whose job has ended."""
    known = BuildMap.Result.get_fields_and_field_types()
    return BuildMap.Result(
        success=finished.error_code == "OK",
        error_code=getattr(BuildMap.Result, finished.error_code),
        message=finished.message,
        partial=finished.partial,
        **{name: value for name, value in finished.fields.items() if name in known},
    )


def feedback_of(report: Report, least: float) -> BuildMap.Feedback:
    """What the worker says of a goal's job; progress never falls below `least`."""
    share = report.done / report.total if report.total else 0.0
    begin, end = STAGE_SPANS.get(report.stage, (least, least))
    return BuildMap.Feedback(
        stage=report.stage,
        progress=max(least, begin + share * (end - begin)),
        stage_progress=share,
        iteration=report.done,
        iterations_total=report.total,
        loss=report.loss,
        psnr=report.psnr,
        num_gaussians=report.num_gaussians,
        eta=-1.0,
    )
