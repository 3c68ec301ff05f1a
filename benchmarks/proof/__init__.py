# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of the method is made of; python benchmarks/method.py runs it."""
