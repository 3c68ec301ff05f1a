# SPDX-License-Identifier: Apache-2.0
"""The gain and offset per colour that each keyframe has against the others."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ccl_lgs_ros.gaussians.order import spread
from ccl_lgs_ros.gaussians.seed import SH_C0
from ccl_lgs_ros.protocols import KeyframeSource, Rasterizer
from ccl_lgs_ros.structures import Gaussians

RATE = 2e-3
SAMPLES = 16  # keyframes whose brightness is compared
COVERED = 0.9  # alpha, from which on a pixel is
PRIOR = 0.01  # holds exposures near the mean one, where the images do not tell


class Exposures:
    """Learnt with the Gaussians, then dropped: the map keeps the colours of the mean exposure.

    Args:
        count: keyframes.
        like: a tensor on the device to use.
    """

    def __init__(self, count: int, like: Tensor) -> None:
        self._values = [torch.zeros(2, 3, device=like.device, requires_grad=True) for _ in range(count)]
        self._seen = torch.zeros(count, dtype=torch.bool)
        self._adam = torch.optim.Adam(self._values, lr=RATE)

    def applied(self, index: int, color: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The colours [H, W, 3] as a keyframe's camera would have them, and the prior's loss."""
        gain, offset = self._values[index]
        self._seen[index] = True
        return color * gain.exp() + offset * alpha.detach()[..., None], PRIOR * self._values[index].square().sum()

    def step(self) -> None:
        """Learn from the gradients that were collected."""
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def mean_exposure(self, sh: Tensor) -> Tensor:
        """Harmonics [N, S, 3] in the mean exposure of the keyframes.

        Brightness may wander from the exposures into the colours and back while nothing in the images changes.
        """
        seen = [value.detach() for value, is_seen in zip(self._values, self._seen.tolist(), strict=True) if is_seen]
        if not seen:
            return sh
        exposures = torch.stack(seen)
        gain, offset = exposures[:, 0].exp().mean(dim=0), exposures[:, 1].mean(dim=0)
        sh = sh * gain
        sh[:, 0] += (0.5 * (gain - 1.0) + offset) / SH_C0  # colour = 0.5 + SH_C0 sh + ...
        return sh

    def tensors(self) -> dict[str, Tensor]:
        """Everything, to be kept as a checkpoint."""
        found = {"exposures": torch.stack([v.detach() for v in self._values]), "exposed": self._seen}
        for place, value in enumerate(self._values):
            found |= {f"exposure_{place}_{name}": tensor for name, tensor in self._adam.state.get(value, {}).items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` told."""
        self._seen = tensors["exposed"].bool()
        for place, value in enumerate(self._values):
            value.data.copy_(tensors["exposures"][place])
            prefix = f"exposure_{place}_"
            state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            if state:
                self._adam.state[value] = state


def exposure_spread(
    gaussians: Gaussians, keyframes: KeyframeSource, rasterizer: Rasterizer, indices: Sequence[int]
) -> float:
    """How much the brightness of some keyframes differs from what the map shows there: standard deviation of its log.

    What each view covers is compared, so that a view of something dark does not count as a dark view.
    """
    found = []
    for index in spread(indices)[:SAMPLES]:
        keyframe = keyframes[index]
        with torch.no_grad():
            view = rasterizer.render(gaussians, keyframe.camera, keyframe.world_from_camera)
        is_covered = view.alpha > COVERED
        image = torch.from_numpy(keyframe.image).to(view.color)[is_covered]
        if len(image):
            found.append(math.log((float(image.mean()) + 1.0) / (255.0 * float(view.color[is_covered].mean()) + 1.0)))
    return float(torch.tensor(found).std()) if len(found) > 1 else 0.0
