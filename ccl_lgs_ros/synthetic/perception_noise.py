# SPDX-License-Identifier: Apache-2.0
"""How far perception is from the truth: every strength of the noise model, frozen; docs/noise_model.md argues each.

Used by the evaluation alone.
"""

import dataclasses
from dataclasses import dataclass

MAX_PROBABILITY = 0.9  # that no strength exceeds


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptionNoise:
    """Errors of masks, of language features and of a video tracker.

    Energies are shares of a feature's squared length at strength 1. Where two values are given, the second is added in
    proportion to a segment's difficulty: 0 for a large mask of a thing in full view, 1 for one of `small_share` of the
    image or less, or of a thing that is all but hidden, or in a blurred image.
    """

    # masks
    miss: tuple[float, float] = (0.02, 0.35)  # probability that a thing has no mask
    merge: tuple[float, float] = (0.06, 0.12)  # probability that a mask takes in a neighbour
    split: tuple[float, float] = (0.08, 0.0)  # probability that a mask comes in two pieces
    jitter: float = 0.04  # boundary displacement over the square root of a mask's area
    spurious: float = 2.0  # segments per image that show no thing: shadows, patches of wall and floor
    belief: float = 0.05  # standard deviation of the predicted IoU and of the stability
    small_share: float = 0.004  # share of the image: 35 x 35 pixels of 640 x 480
    # language features
    blurred: float = 0.15  # probability that an image is blurred
    instance: float = 0.09  # energy: what sets a thing apart from its class
    drift: float = 0.11  # energy: what changes smoothly with the view
    drift_angle: float = 0.5  # radians of view over which it changes
    drift_distance: float = 0.5  # log of distance over which it changes
    view: tuple[float, float] = (0.04, 0.10)  # energy: what no two views share
    leak: tuple[float, float] = (0.05, 0.20)  # share of a feature that comes from around the mask
    confusion: tuple[float, float] = (0.10, 0.30)  # probability that a thing is taken for a look-alike
    # video tracker, per step from one keyframe to the next
    lose: tuple[float, float] = (0.01, 0.15)  # probability that a mask is lost
    find_again: float = 0.5  # probability that a thing is found after it was out of sight
    slip: float = 0.02  # probability that a mask slips onto a neighbour that touches

    def scaled(self, strength: float) -> "PerceptionNoise":
        """The noise at a strength: 0 is none, 1 this, 2 twice as much.

        Amplitudes and probabilities grow in proportion, so energies grow with the square. Scales (small_share,
        drift_angle, drift_distance) stay.
        """
        if strength < 0:
            raise ValueError(f"strength: expected 0 or more, got {strength}")

        def probability(pair: tuple[float, float]) -> tuple[float, float]:
            return min(pair[0] * strength, MAX_PROBABILITY), pair[1] * strength

        def energy(pair: tuple[float, float]) -> tuple[float, float]:
            return pair[0] * strength**2, pair[1] * strength**2

        return dataclasses.replace(
            self,
            **{
                name: probability(getattr(self, name))
                for name in ("miss", "merge", "split", "leak", "confusion", "lose")
            },
            **{name: getattr(self, name) * strength for name in ("jitter", "spurious", "belief")},
            **{name: min(getattr(self, name) * strength, MAX_PROBABILITY) for name in ("blurred", "slip")},
            instance=self.instance * strength**2,
            drift=self.drift * strength**2,
            view=energy(self.view),
            find_again=1.0 - min((1.0 - self.find_again) * strength, 1.0),
        )

    def with_true_masks(self) -> "PerceptionNoise":
        """The same language features on masks without error: the control "oracle masks"."""
        return dataclasses.replace(
            self, miss=(0.0, 0.0), merge=(0.0, 0.0), split=(0.0, 0.0), jitter=0.0, spurious=0.0, belief=0.0
        )


def chance(pair: tuple[float, float], difficulty: float) -> float:
    """A probability or share of a segment of some difficulty in [0, 1]."""
    return min(pair[0] + pair[1] * difficulty, MAX_PROBABILITY)


def size_difficulty(share: float, small_share: float) -> float:
    """How small a mask is, in (0, 1]: 1 for `small_share` of the image or less, then falling with the area."""
    return min(1.0, small_share / max(share, 1e-9))
