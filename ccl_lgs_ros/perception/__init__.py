# SPDX-License-Identifier: Apache-2.0
"""Segmenters and encoders: what finds masks in an image and what gives them a language."""
