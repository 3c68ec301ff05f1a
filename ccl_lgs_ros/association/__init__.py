# SPDX-License-Identifier: Apache-2.0
"""Which segments, across keyframes, show one thing."""
