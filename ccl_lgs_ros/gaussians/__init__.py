# SPDX-License-Identifier: Apache-2.0
"""The Gaussians of the map: where they begin and how they come to look like the images."""
