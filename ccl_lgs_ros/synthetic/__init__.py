# SPDX-License-Identifier: Apache-2.0
"""A furnished room with exact ground truth, seen by a simulated robot; numpy, scipy and OpenCV only."""
