# SPDX-License-Identifier: Apache-2.0
"""The check that every noun makes of its tensors."""

from torch import Tensor


def check_shapes(**expected: tuple[Tensor, tuple[int | None, ...]]) -> None:
    """Raise ValueError unless every tensor has its expected shape; None stands for any length."""
    for name, (tensor, shape) in expected.items():
        fits = tensor.ndim == len(shape) and all(
            want is None or have == want for have, want in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
