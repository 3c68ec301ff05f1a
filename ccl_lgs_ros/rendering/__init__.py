# SPDX-License-Identifier: Apache-2.0
"""Rasterizers: draw Gaussians into a camera, and say which Gaussian drew what."""
