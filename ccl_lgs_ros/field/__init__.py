# SPDX-License-Identifier: Apache-2.0
"""Tracks carried from images onto Gaussians."""
