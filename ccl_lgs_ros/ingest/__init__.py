# SPDX-License-Identifier: Apache-2.0
"""Contents of raw messages in, posed, undistorted and registered frames out. numpy and OpenCV only."""
