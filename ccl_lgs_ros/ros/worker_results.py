# SPDX-License-Identifier: Apache-2.0
"""What the worker tells of the map that is published, and of jobs that failed."""

from ccl_lgs_ros.errors import MapError, MissingDependencyError
from ccl_lgs_ros.ros.guards import sentence
from ccl_lgs_ros.ros.process_memory import peak_memory
from ccl_lgs_ros.ros.worker_memory import is_out_of_memory
from ccl_lgs_ros.ros.worker_messages import Build, Finished, Reset, Save
from ccl_lgs_ros.storage.map_copy import copy_map, copy_splat
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.structures import SemanticMap

LESS_MEMORY = "set gaussians.image_width, gaussians.max_gaussians or perception.point_batch lower"


def count_of(published: SemanticMap | None, name: str) -> int:
    """A count in the record of a published map: its keyframes, those that were refined, or the poses' revision."""
    return int(published.info.get(name, 0)) if published else 0  # type: ignore[call-overload]


def fields_of(directory: MapDirectory, published: SemanticMap | None) -> dict:
    """Figures of the published map, named as in the messages."""
    held_out = published.info.get("held_out") if published else None
    psnr = held_out.get("psnr") if isinstance(held_out, dict) else None
    levels = published.levels.values() if published else ()
    return {
        "map_path": str(directory.path.resolve()),
        "map_version": published.version if published else directory.newest_version(),
        "num_keyframes": count_of(published, "keyframes"),
        "num_gaussians": len(published.gaussians) if published else 0,
        "codebook_size": sum(len(level.codebook) for level in levels),
        "psnr": float("nan") if psnr is None else float(psnr),
        "peak_memory": peak_memory(),
    }


def built(job: Build, code: str, fields: dict, *, is_lean: bool) -> Finished:
    """The end of a build that came to its end, was canceled or ran out of time."""
    begin = {"OK": "built", "TIMEOUT": "the time was up; there is", "CANCELED": "canceled; there is"}[code]
    message = f"{begin} version {fields['map_version']} of the map, from {fields['num_keyframes']} keyframes"
    if is_lean:
        message += ", at half the size for want of memory"
    is_partial = code != "OK" and fields["map_version"] > 0
    return Finished(job=job.job, error_code=code, message=message, partial=is_partial, fields=fields)


def saved(job: Save, directory: MapDirectory) -> Finished:
    """Copy the published map where a job wants it.

    Raises:
        MapError: if something is in the way or the disk does not take it.
    """
    path, size = directory.path, 0
    if job.path:
        path, size = copy_map(directory, job.path, include_keyframes=job.include_keyframes, overwrite=job.overwrite)
    if job.export_ply:
        size += copy_splat(directory, path)
    version = directory.newest_version()
    fields = {"path": str(path.resolve()), "size": size, "map_version": version}
    return Finished(job=job.job, message=f"version {version} of the map is at {path}", fields=fields)


def failed(job: Build | Save | Reset, error: Exception, fields: dict) -> Finished:
    """The end of a job that an error made."""
    codes = {MissingDependencyError: "MODEL_MISSING", MapError: "SAVE_FAILED"}
    code = next((name for kind, name in codes.items() if isinstance(error, kind)), "INTERNAL")
    message = sentence(error)
    if is_out_of_memory(error):
        code, message = "OUT_OF_MEMORY", f"out of memory, at half the size too ({message}); {LESS_MEMORY}"
    is_partial = isinstance(job, Build) and fields["map_version"] > 0
    return Finished(job=job.job, error_code=code, message=message, partial=is_partial, fields=fields)
