# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs doctor: what works on this machine, and what is missing for the rest."""

import argparse
import platform
from importlib import import_module, metadata, util

SUMMARY = "say what works on this machine, and what to install for the rest"
DESCRIPTION = "Check the interpreter, the libraries, the GPU, ROS 2 and every exchangeable part. Exit code 0: can map."
EXAMPLES = """examples:
  ccl-lgs doctor
  ccl-lgs doctor --download sam2.1_hiera_l                    weights of SAM 2: masks and video tracks
  ccl-lgs doctor --download vit_h                             weights of SAM: masks
  ccl-lgs doctor --download ViT-B-16/laion2b_s34b_b88k        weights of OpenCLIP: language
"""

NEEDED = ("torch", "numpy", "numba", "scipy", "opencv-python-headless", "scikit-image", "rosbags", "safetensors")
OPTIONAL = {
    "gsplat": "pip install gsplat    (rasterizer on an NVIDIA GPU)",
    "open_clip_torch": "pip install torchvision open_clip_torch    (language features)",
    "segment-anything": "pip install torchvision segment-anything    (masks)",
    "sam2": "SAM2_BUILD_CUDA=0 pip install --no-build-isolation torchvision sam2    (masks and video tracks)",
    "viser": "pip install viser    (ccl-lgs view)",
}
NOT_ALWAYS_NEEDED = ("propagator",)  # only by association.associator=tracker and second_vote=tracker
OTHER_NAMES = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be done beside looking."""
    parser.add_argument(
        "--download",
        metavar="MODEL",
        help="fetch the published weights of a model: MODEL of sam or sam2, MODEL/TAG of OpenCLIP",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings, or fetch weights and say where they are."""
    if arguments.download:
        from ccl_lgs_ros.perception.downloads import fetch_named

        print(f"{arguments.download}: {fetch_named(arguments.download)}")
        return 0
    print(f"Python {platform.python_version()} on {platform.platform(terse=True)}, {platform.machine()}")
    missing = [name for name in NEEDED if not _say_version(name, f"pip install {name}")]
    for name, advice in OPTIONAL.items():
        _say_version(name, advice)
    _say_ros()
    if missing:
        print(f"cannot map: missing {', '.join(missing)}")
        return 2
    _say_gpu()
    works = _say_parts()
    print("this machine can map" if works else "cannot map: see the parts above")
    return 0 if works else 2


def _say_version(name: str, advice: str) -> bool:
    for candidate in (name, *OTHER_NAMES.get(name, ())):
        try:
            print(f"  ok       {candidate} {metadata.version(candidate)}")
            return True
        except metadata.PackageNotFoundError:
            continue
    print(f"  missing  {name}: {advice}")
    return False


def _say_ros() -> None:
    if util.find_spec("rclpy") is None:
        print("  missing  ROS 2: the nodes need it; source a ROS 2 installation, or use `make setup`")
        return
    try:
        import_module("ccl_lgs_ros.msg")
        print("  ok       ROS 2 and the messages of this package")
    except ImportError:
        print("  missing  the messages of this package: build it with colcon, or use `make setup`")


def _say_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        print(f"  ok       GPU {torch.cuda.get_device_name(0)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    else:
        print(f"  none     GPU: torch {torch.__version__} sees none; the CPU parts are used")


def _say_parts() -> bool:
    from ccl_lgs_ros.backends import reasons_against
    from ccl_lgs_ros.config import MapConfig
    from ccl_lgs_ros.registry import PARTS

    works = True
    for kind in PARTS:
        reasons = reasons_against(kind, MapConfig())
        for name, reason in reasons.items():
            print(f"  {'no' if reason else 'ok':<8} {kind} {name}{': ' + reason if reason else ''}")
        works = works and (kind in NOT_ALWAYS_NEEDED or not all(reasons.values()))
    return works
