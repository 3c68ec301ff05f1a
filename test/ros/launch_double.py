# SPDX-License-Identifier: Apache-2.0
"""Stands in for ROS's launch packages, which have no wheels: what a launch file asks for is kept to be looked at."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ros.harness import ROOT


class Asked:
    """Something of launch that was made, with what it was made of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


class LaunchDescription(Asked): ...


class DeclareLaunchArgument(Asked): ...


class EmitEvent(Asked): ...


class ExecuteProcess(Asked): ...


class LogInfo(Asked): ...


class OpaqueFunction(Asked): ...


class Shutdown(Asked): ...


class Node(Asked): ...


class ExecutableInPackage(Asked): ...


MODULES = {
    "launch": (LaunchDescription,),
    "launch.actions": (DeclareLaunchArgument, EmitEvent, ExecuteProcess, LogInfo, OpaqueFunction),
    "launch.events": (Shutdown,),
    "launch_ros": (),
    "launch_ros.actions": (Node,),
    "launch_ros.substitutions": (ExecutableInPackage,),
}
BUILT_ON_IT = "ccl_lgs_ros.ros.launching"


@contextmanager
def launch_double() -> Iterator[None]:
    """Imports of launch find the stand-in."""
    before = {name: sys.modules.get(name) for name in (*MODULES, BUILT_ON_IT)}
    sys.modules.pop(BUILT_ON_IT, None)
    for name, classes in MODULES.items():
        sys.modules[name] = module = ModuleType(name)
        for kind in classes:
            setattr(module, kind.__name__, kind)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


class LaunchFile:
    """A launch file of the package, as `ros2 launch` would read it."""

    def __init__(self, name: str) -> None:
        path = ROOT / "launch" / f"{name}.launch.py"
        spec = importlib.util.spec_from_file_location(f"{name}_launch", path)
        assert spec is not None and spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        (entities,) = self.module.generate_launch_description().args
        self.declared = {e.args[0]: e.kwargs for e in entities if isinstance(e, DeclareLaunchArgument)}
        (self._opaque,) = [e for e in entities if isinstance(e, OpaqueFunction)]

    def started(self, **given: str) -> list[Asked]:
        """What is started for values of the arguments."""
        assert set(given) <= set(self.declared)
        values = {name: given.get(name, keywords["default_value"]) for name, keywords in self.declared.items()}
        return self._opaque.kwargs["function"](SimpleNamespace(launch_configurations=values))

    def nodes(self, **given: str) -> dict[str, Node]:
        """The nodes that are started, by executable."""
        return {e.kwargs["executable"]: e for e in self.started(**given) if isinstance(e, Node)}


def parameters(node: Node) -> dict[str, Any]:
    """The parameters that a node is given one by one."""
    return {name: value for part in node.kwargs["parameters"] if isinstance(part, dict) for name, value in part.items()}


def after_exit(actions: list[OpaqueFunction], code: int) -> list[Asked]:
    """What follows when a process with these on_exit actions has ended; raises as launch would hear it."""
    context = SimpleNamespace(locals=SimpleNamespace(event=SimpleNamespace(returncode=code)))
    return [asked for action in actions for asked in action.kwargs["function"](context)]


def launch_files() -> list[Path]:
    """All of the package."""
    return sorted((ROOT / "launch").glob("*.launch.py"))
