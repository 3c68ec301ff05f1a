# SPDX-License-Identifier: Apache-2.0
"""From the map and its answers to where a robot may stand, drive and look."""
