# SPDX-License-Identifier: Apache-2.0
"""Language vectors compressed to few entries."""
