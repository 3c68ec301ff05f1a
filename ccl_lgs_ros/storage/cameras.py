# SPDX-License-Identifier: Apache-2.0
"""Posed cameras of a nerfstudio `transforms.json`, and what must hold for them to be ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import EvaluationError
from ccl_lgs_ros.geometry import OPTICAL_FROM_OPENGL

CONVENTIONS = ("opengl", "opencv")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedCamera:
    """A camera where it stood, named by its image's stem."""

    stem: str
    camera: Camera
    world_from_camera: NDArray[np.float64]  # [4, 4], optical frame
    image: Path | None = None  # which may be missing


def read_cameras(path: Path | str) -> list[PosedCamera]:
    """The cameras of a transforms.json, or of the folder that holds one.

    Raises:
        EvaluationError: naming the file, what is wrong with it and what it should hold.
    """
    path = Path(path)
    path = path / "transforms.json" if path.is_dir() else path
    transforms = read_json(path)
    convention = camera_convention(path, transforms)
    return [
        PosedCamera(
            stem=stem,
            camera=camera_of(path, {**transforms, **frame}),
            world_from_camera=pose_of(path, frame, convention),
            image=path.parent / frame["file_path"],
        )
        for stem, frame in frames_of(path, transforms).items()
    ]


def camera_convention(source: Path, transforms: Mapping[str, Any]) -> str:
    """Which way the camera axes point: "opengl" unless the file says "opencv"."""
    convention = transforms.get("camera_convention", "opengl")
    if convention not in CONVENTIONS:
        raise EvaluationError(f"{source}: camera_convention must be {' or '.join(CONVENTIONS)}, got {convention!r}")
    return convention


def frames_of(source: Path, transforms: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The frames by the stem of their image."""
    frames = transforms.get("frames")
    if not isinstance(frames, list) or not frames:
        raise EvaluationError(f"{source} has no frames; it must list one per image")
    found: dict[str, Mapping[str, Any]] = {}
    for frame in frames:
        is_named = isinstance(frame, dict) and isinstance(frame.get("file_path"), str)
        if not is_named or "transform_matrix" not in frame:
            raise EvaluationError(f"{source}: every frame must have file_path and transform_matrix, got {frame!r:.80}")
        stem = Path(frame["file_path"]).stem
        if stem in found:
            raise EvaluationError(f"{source} has two frames named {stem}; names must differ")
        found[stem] = frame
    return found


def camera_of(source: Path, frame: Mapping[str, Any]) -> Camera:
    """The intrinsics of a frame, joined with those that all frames share."""
    if any(frame.get(name) for name in DISTORTION):
        raise EvaluationError(f"{source} describes distorted images; undistort them and set k1, k2, p1, p2 to 0")
    try:
        return Camera(
            width=int(frame["w"]),
            height=int(frame["h"]),
            fx=float(frame["fl_x"]),
            fy=float(frame["fl_y"]),
            cx=float(frame["cx"]),
            cy=float(frame["cy"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EvaluationError(f"{source} must hold w, h, fl_x, fl_y, cx and cy as numbers: {error!r}") from error


def pose_of(source: Path, frame: Mapping[str, Any], convention: str) -> NDArray[np.float64]:
    """world_from_camera [4, 4] in optical axes."""
    try:
        matrix = np.asarray(frame["transform_matrix"], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise EvaluationError(f"{source}: transform_matrix of {frame['file_path']} must be 4 rows of 4 finite numbers")
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise EvaluationError(f"{source}: transform_matrix of {frame['file_path']} is no rigid pose; remove its scale")
    return matrix @ OPTICAL_FROM_OPENGL if convention == "opengl" else matrix


def read_text(path: Path) -> str:
    """The text of a file; EvaluationError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; check it") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; EvaluationError where it is none."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}); correct it") from error
    if not isinstance(content, dict):
        raise EvaluationError(f"{path} must hold a JSON object, got a {type(content).__name__}")
    return content
