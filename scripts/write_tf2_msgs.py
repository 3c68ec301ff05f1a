# SPDX-License-Identifier: Apache-2.0
"""Writes a ROS package tf2_msgs with the message definitions that rosbags carries, for where no such package exists.

Usage: write_tf2_msgs.py FOLDER
"""

import sys
from pathlib import Path

from rosbags.typesys import Stores, get_typestore

MESSAGES = ("TF2Error", "TFMessage")
MANIFEST = """<?xml version="1.0"?>
<package format="3">
  <name>tf2_msgs</name>
  <version>0.36.0</version>
  <description>The messages of tf2, generated from their definitions in rosbags.</description>
  <maintainer email="maintainers@ccl-lgs-ros.org">The ccl_lgs_ros maintainers</maintainer>
  <license>BSD-3-Clause</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>geometry_msgs</depend>
  <exec_depend>rosidl_default_runtime</exec_depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""
RECIPE = """cmake_minimum_required(VERSION 3.22)
project(tf2_msgs)
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
rosidl_generate_interfaces(${{PROJECT_NAME}} {files} DEPENDENCIES geometry_msgs)
ament_export_dependencies(rosidl_default_runtime)
ament_package()
"""


def main(folder: Path) -> None:
    (folder / "msg").mkdir(parents=True, exist_ok=True)
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in MESSAGES:
        definition, _ = store.generate_msgdef(f"tf2_msgs/msg/{name}", ros_version=2)
        own_fields = definition.split("\n====", 1)[0]  # the rest repeats the definitions it depends on
        (folder / "msg" / f"{name}.msg").write_text(own_fields + "\n")
    (folder / "package.xml").write_text(MANIFEST)
    (folder / "CMakeLists.txt").write_text(RECIPE.format(files=" ".join(f"msg/{name}.msg" for name in MESSAGES)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
