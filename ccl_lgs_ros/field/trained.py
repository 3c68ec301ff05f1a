# SPDX-License-Identifier: Apache-2.0
"""What a training teaches: tensors that Adam moves, and all that a later run needs to go on from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam, by torch's names


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well a step's pixels were decoded before the step."""

    loss: float
    correct: int  # of the held-out pixels looked at
    total: int


class Trained:
    """Tensors by name, each with a learning rate of its own, with the generator and the counts of their training.

    Args:
        start: where they start, and their rates; there may be none.
        device: where they are trained.
        generator: draws whatever the training leaves to chance.
    """

    def __init__(
        self, start: Mapping[str, tuple[Tensor, float]], device: torch.device, generator: torch.Generator
    ) -> None:
        self.now = {name: tensor.to(device, copy=True).requires_grad_() for name, (tensor, _) in start.items()}
        self.generator = generator
        self.steps: Counter[str] = Counter()  # by kind, for those who count
        groups = [{"params": [self.now[name]], "lr": rate} for name, (_, rate) in start.items()]
        self._adam = torch.optim.Adam(groups) if groups else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to train: no tensor, or none for any Gaussian."""
        return not self.now or any(tensor.numel() == 0 for tensor in self.now.values())

    @property
    def values(self) -> dict[str, Tensor]:
        """The tensors as they are now, without gradient history."""
        return {name: tensor.detach() for name, tensor in self.now.items()}

    def descend(self, losses: Sequence[Tensor]) -> float:
        """One step down the sum of the losses, which is given back; without a loss no step and 0."""
        if not losses:
            return 0.0
        assert self._adam is not None
        loss = torch.stack(list(losses)).sum()
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """All that a later run needs to go on from here."""
        kept = {"random": self.generator.get_state()}
        kept |= {f"steps.{kind}": torch.tensor(count) for kind, count in self.steps.items()}
        for name, tensor in self.now.items():
            kept[f"value.{name}"] = tensor.detach().clone()
            state = self._adam.state[tensor] if self._adam is not None else {}
            kept |= {f"{key}.{name}": state[key].clone() for key in ("step", *MOMENTS) if key in state}
        return kept

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave; other names in it are passed over."""
        self.generator.set_state(kept["random"])
        counts = {name.removeprefix("steps."): int(count) for name, count in kept.items() if name.startswith("steps.")}
        self.steps = Counter(counts)
        for name, tensor in self.now.items():
            with torch.no_grad():
                tensor.copy_(kept[f"value.{name}"])
            if self._adam is not None and f"step.{name}" in kept:
                moments = {key: kept[f"{key}.{name}"].to(tensor) for key in MOMENTS}
                self._adam.state[tensor] = {"step": kept[f"step.{name}"].clone(), **moments}


def named(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in values.items() if name.startswith(prefix)}
