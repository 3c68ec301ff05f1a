# SPDX-License-Identifier: Apache-2.0
"""A map as one page for people: how it was made, how well it shows the photos, and what it answers."""
