# SPDX-License-Identifier: Apache-2.0
"""Everything that touches files: map directories, keyframes, snapshots, recordings."""
