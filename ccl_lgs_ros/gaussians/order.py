# SPDX-License-Identifier: Apache-2.0
"""Which keyframe is learnt from next."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

NEW_SHARE = 2 / 3  # of the steps go to keyframes that were never learnt from, while others were


class Order:
    """The keyframes in random order, each once before any again; new ones more often than those known already.

    Args:
        indices: of the keyframes to learn from.
        num_known: keyframes below this index were learnt from before.
        generator: chooses; where not given one of seed 0.
    """

    def __init__(self, indices: Sequence[int], num_known: int, generator: torch.Generator | None) -> None:
        old, new = [i for i in indices if i < num_known], [i for i in indices if i >= num_known]
        self._groups = [group for group in (new, old) if group]
        self._queues: list[list[int]] = [[] for _ in self._groups]
        self.generator = generator or torch.Generator().manual_seed(0)

    def next(self) -> int:
        """The index of the next keyframe."""
        group = 0
        if len(self._groups) > 1:
            group = int(torch.rand((), generator=self.generator) >= NEW_SHARE)
        queue, members = self._queues[group], self._groups[group]
        if not queue:
            queue += [members[place] for place in torch.randperm(len(members), generator=self.generator).tolist()]
        return queue.pop(0)

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept as a checkpoint."""
        queues = {f"queue_{place}": torch.tensor(queue, dtype=torch.int64) for place, queue in enumerate(self._queues)}
        return {**queues, "generator": self.generator.get_state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""
        self._queues = [tensors[f"queue_{place}"].tolist() for place in range(len(self._queues))]
        self.generator.set_state(tensors["generator"])


def spread(indices: Sequence[int]) -> list[int]:
    """The same indices, coarse steps first, so that those that come first stand for all."""
    bits = max(len(indices) - 1, 1).bit_length()
    return [indices[p] for p in sorted(range(len(indices)), key=lambda p: int(format(p, f"0{bits}b")[::-1], 2))]
