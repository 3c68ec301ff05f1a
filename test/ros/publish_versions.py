# SPDX-License-Identifier: Apache-2.0
"""Publishes one version of a map after the other, as fast as the disk takes them: publish_versions.py MAP."""

import sys

from ros.small_map import small_map

from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import publish

SPACING = 0.02  # metres
LEAST, CYCLE = 250, 100  # Gaussians of the red box in the first version; versions after which it is as small again


def num_red(version: int) -> int:
    """Gaussians of the red box in a version, which come first in the map."""
    return LEAST + version % CYCLE


def main(path: str) -> None:
    directory = MapDirectory.open(path)
    while True:
        publish(directory, small_map(SPACING, num_red=num_red(directory.newest_version() + 1)))


if __name__ == "__main__":
    main(sys.argv[1])
