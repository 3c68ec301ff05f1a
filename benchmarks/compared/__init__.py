# SPDX-License-Identifier: Apache-2.0
"""Every recipe in the same places."""
