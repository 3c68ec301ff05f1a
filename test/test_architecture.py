# SPDX-License-Identifier: Apache-2.0
"""Imports point down only, and each third-party family has one owner."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ccl_lgs_ros"

VOCABULARY = (
    "errors",
    "geometry",
    "grid",
    "picture_header",
    "camera",
    "shapes",
    "languages",
    "level_names",
    "structures",
    "labelling",
    "answers",
    "protocols",
)
STAGES = ("keyframes", "gaussians", "masks", "association", "codebook", "field", "query", "navigation", "evaluation")
ADAPTERS = ("ingest", "perception", "rendering", "storage", "synthetic")
GLUE = ("option_field", "navigation_options", "language_options", "options", "config", "registry", "resources")
SHELLS = ("cli", "commands", "ros", "viewer", "executable")

OWNERS = {
    "rclpy": ("ros",),
    "rcl_interfaces": ("ros",),
    "sensor_msgs": ("ros",),
    "geometry_msgs": ("ros",),
    "tf2_ros": ("ros",),
    "tf2_msgs": ("ros",),
    "gsplat": ("rendering",),
    "numba": ("rendering", "field"),
    "rosbags": ("storage",),
    "open_clip": ("perception",),
    "segment_anything": ("perception",),
    "sam2": ("perception",),
    "ai_edge_litert": ("perception",),
    "onnxruntime": ("perception",),
    "skimage": ("perception",),
    "viser": ("viewer",),
    "PIL": ("lettering",),
    "jinja2": ("report",),
}
TORCH_FREE = (
    "errors",
    "geometry",
    "camera",
    "config",
    "registry",
    "keyframes",
    "capture",
    "ingest",
    "storage.keyframe_store",
    "storage.bag",
    "ros.keyframe_node",
)
ALLOWED_TO_PRINT = ("cli", "commands", "executable")


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def part_of(path: Path) -> str:
    """The folder or top-level module that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> list[str]:
    """Every module named in an import of the file, wherever it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own_parts(path: Path) -> set[str]:
    """The parts of this package that the file imports, without its own."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("ccl_lgs_ros.")}
    return names - {part_of(path)}


def rank(part: str) -> int:
    """Where a part stands in the order; imports go to lower ranks only."""
    if part in VOCABULARY:
        return VOCABULARY.index(part)
    if part in STAGES + ADAPTERS:
        return len(VOCABULARY)
    if part in GLUE:
        return 20 + GLUE.index(part)
    if part in SHELLS:
        return 40
    return 30  # the pipeline and what stands beside it


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        assert not imported(path)
        return
    known = {p.name.removesuffix(".py") for p in PACKAGE.iterdir()}
    for other in own_parts(path) & known:
        if rank(part) in (30, 40):
            assert rank(other) <= rank(part), f"{path} imports {other}"
        else:
            assert rank(other) < rank(part), f"{path} imports {other}"


@pytest.mark.parametrize("family", OWNERS)
def test_third_party_packages_have_one_owner(family: str) -> None:
    users = {part_of(path) for path in modules() if any(name.split(".")[0] == family for name in imported(path))}
    assert users <= set(OWNERS[family]), f"{family} is imported by {users}"


@pytest.mark.parametrize("module", TORCH_FREE)
def test_capture_never_loads_torch(module: str) -> None:
    if module.startswith("ros."):
        pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    code = f"import sys, ccl_lgs_ros.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_only_the_command_line_prints() -> None:
    for path in modules():
        if part_of(path) in ALLOWED_TO_PRINT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not is_print, f"{path}:{node.lineno} prints"


def test_no_file_and_no_function_outgrows_its_budget() -> None:
    too_long = []
    for path in modules():
        text = path.read_text()
        if len(text.splitlines()) > 300:
            too_long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if length > 60:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert not too_long


def test_no_device_is_named_outside_backends() -> None:
    for path in modules():
        if part_of(path) not in ("backends",):
            for node in ast.walk(ast.parse(path.read_text())):
                is_keyword = isinstance(node, ast.keyword) and node.arg == "device"
                assert not (is_keyword and isinstance(node.value, ast.Constant)), f"{path} nails a device down"
