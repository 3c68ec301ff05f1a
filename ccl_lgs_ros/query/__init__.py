# SPDX-License-Identifier: Apache-2.0
"""From a prompt's relevancy to instances in 3D."""
