# SPDX-License-Identifier: Apache-2.0
"""Scores of a map against labelled views: metrics, the protocol that combines them, a table."""
