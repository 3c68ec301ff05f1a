# SPDX-License-Identifier: Apache-2.0
"""From overlapping mask proposals to the segments of the two levels."""
