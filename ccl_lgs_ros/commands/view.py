# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs view: a map in the browser, to look at and to ask."""

import argparse
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import add_config_arguments, config_of
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError

SUMMARY = "look at a map in the browser and ask it"
DESCRIPTION = """\
Show a map in the browser: its Gaussians, the way of the camera, and what it answers. Type a prompt and press Enter:
boxes appear around what was found; click one for the photos that show it best. Colours can be those of the camera,
the relevancy to the prompt, or the tracks. A map that is still being built is followed. Neither side needs a GPU.
Ctrl-C ends it."""
EXAMPLES = """\
examples:
  ccl-lgs view flat                         then open http://localhost:8080
  ccl-lgs view flat --port 8090
  ssh -L 8080:localhost:8080 robot          on your computer: a viewer that runs on the robot, as if it ran here
  ccl-lgs view flat --host 0.0.0.0          whoever reaches this computer can look at the map and ask it
"""
PORT, HOST, MAX_GAUSSIANS = 8080, "127.0.0.1", 300_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the page (default {PORT}; 0 = any)")
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default {HOST}: this computer alone)")
    parser.add_argument(
        "--max-gaussians",
        type=int,
        default=MAX_GAUSSIANS,
        metavar="N",
        help=f"as many as the browser gets, those that show most (default {MAX_GAUSSIANS})",
    )
    parser.add_argument("--wait", action="store_true", help="wait for the map where there is none yet")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    if find_spec("viser") is None:
        raise MissingDependencyError("the viewer needs viser, which is not installed; get it with: pip install viser")
    if not 0 <= arguments.port <= 65535:
        raise ConfigError(f"--port must be from 0 to 65535; got {arguments.port}")
    if arguments.max_gaussians < 1:
        raise ConfigError(f"--max-gaussians must be at least 1; got {arguments.max_gaussians}")
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.viewer.server import Viewer  # imports torch and viser

    path = arguments.map.expanduser()
    if not arguments.wait:
        MapDirectory.open(path)
    viewer = Viewer(
        path,
        config_of(arguments),
        host=arguments.host,
        port=arguments.port,
        max_gaussians=arguments.max_gaussians,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with viewer:
        print(f"open {viewer.url} to look at {path}; Ctrl-C ends this", flush=True)
        ended.wait()
    print("closed", flush=True)
    return 0
