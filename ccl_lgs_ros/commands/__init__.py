# SPDX-License-Identifier: Apache-2.0
"""The subcommands of ccl-lgs. What is slow to import is imported when a command runs, so that --help is quick."""
