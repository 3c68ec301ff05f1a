# SPDX-License-Identifier: Apache-2.0
"""Tensors that Adam trains, kept with its state for a run that goes on."""

from collections.abc import Mapping

import torch
from torch import Tensor

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")  # by torch's names


class Trained:
    """Tensors by name, at one learning rate.

    Args:
        start: where they start; at least one.
    """

    def __init__(self, start: Mapping[str, Tensor], learning_rate: float) -> None:
        self.now = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
        self._adam = torch.optim.Adam(list(self.now.values()), lr=learning_rate)

    @property
    def values(self) -> dict[str, Tensor]:
        """The tensors as they are now, without gradient history."""
        return {name: tensor.detach() for name, tensor in self.now.items()}

    def descend(self, loss: Tensor) -> None:
        """One step down this loss."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()

    def tensors(self) -> dict[str, Tensor]:
        """All that a later run needs to go on from here."""
        kept = {f"value.{name}": tensor.detach().clone() for name, tensor in self.now.items()}
        for name, tensor in self.now.items():
            state = self._adam.state[tensor]
            kept.update({f"{key}.{name}": state[key].clone() for key in ADAM_STATE if key in state})
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave; other names in it are passed over."""
        for name, tensor in self.now.items():
            with torch.no_grad():
                tensor.copy_(kept[f"value.{name}"])
            if f"step.{name}" in kept:
                moments = {key: kept[f"{key}.{name}"].to(tensor) for key in ("exp_avg", "exp_avg_sq")}
                self._adam.state[tensor] = {"step": kept[f"step.{name}"].clone(), **moments}
