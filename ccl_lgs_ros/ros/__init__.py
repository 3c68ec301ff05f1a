# SPDX-License-Identifier: Apache-2.0
"""The three nodes: thin shells that carry messages to the core and answers back."""
