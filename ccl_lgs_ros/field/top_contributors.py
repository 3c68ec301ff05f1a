# SPDX-License-Identifier: Apache-2.0
"""Language registered on Gaussians by the heaviest of each ray, and kept as product codes: nothing is trained."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.field.joint_votes import joint_votes, marginal
from ccl_lgs_ros.field.product_quantizer import encoded, fitted_centroids, read_centroids
from ccl_lgs_ros.field.registration import RegistrationLifter
from ccl_lgs_ros.labelling import LabelledViews, LevelLabels, Lifting, SegmentTable
from ccl_lgs_ros.languages import ProductCodes
from ccl_lgs_ros.protocols import Checkpoint, Progress, Rasterizer
from ccl_lgs_ros.structures import Gaussians, Votes, VoteTable


class TopContributorsLifter:
    """Gives each Gaussian the mean language vector of the segments that it is among the heaviest in a pixel of.

    A vector counts with the rendering weights of the Gaussian in the pixels of its segment, over all views. The labels
    are those with the most such votes, as in registration; they say which Gaussians are one thing, not what it is.
    While it works it holds the mean of each Gaussian at each level: 2 KiB for vectors of 512 numbers.

    Args:
        top_contributors: Gaussians that count in a pixel; 0 = all.
        product_codes: file of centroids fitted for the encoder's language space; "" = fitted to the map's segments.
        slots, min_confidence, min_labelled, min_visibility: as in RegistrationLifter.

    Raises:
        ConfigError: if the file holds no centroids, or, in `lift`, those of another language space.

    Source: Dr. Splat (Jun-Seong et al., CVPR 2025). Differences: instances are kept beside the vectors, which the paper
    has none of; centroids are those of any vectors of the language space, the paper's of images of LVIS.
    """

    def __init__(
        self,
        *,
        top_contributors: int,
        product_codes: str,
        slots: int,
        min_confidence: float,
        min_labelled: float,
        min_visibility: float = 0.0,
    ) -> None:
        self._most, self._file = top_contributors, product_codes
        self._centroids = read_centroids(Path(product_codes)) if product_codes else None
        self._registration = RegistrationLifter(
            slots=slots, min_confidence=min_confidence, min_labelled=min_labelled, min_visibility=min_visibility
        )

    def lift(
        self,
        gaussians: Gaussians,
        views: LabelledViews,
        labels: Mapping[str, LevelLabels],
        rasterizer: Rasterizer,
        *,
        generator: torch.Generator,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lifting:
        """Labels and product codes of the Gaussians; nothing is long enough to be kept."""
        for level in labels.values():
            self._check(level.table)
        tables = {name: VoteTable.empty(len(gaussians), self._registration.slots) for name in labels}
        sums = {name: _zeros(len(gaussians), level.table) for name, level in labels.items()}
        for index in range(len(views)):
            view = views[index]
            seen_from = view.keyframe.camera, view.keyframe.world_from_camera
            rows = {name: view.rows[name] for name in labels}
            voted = joint_votes(rasterizer, gaussians, *seen_from, rows, view.keyframe.outdated, self._most)
            for name, votes in voted.items():
                add_features(sums[name], votes, labels[name].table.features)
                own = marginal(votes, labels[name].label_of_row.numpy(force=True))
                tables[name] = self._registration.accumulate(tables[name], own)
            progress("register", index + 1, len(views))
        found = {
            name: self._registration.resolve_coded(tables[name], level.code_of_label) for name, level in labels.items()
        }
        return Lifting(
            gaussians=gaussians,
            label_of_gaussian={name: label for name, (label, _) in found.items()},
            confidence={name: confidence for name, (_, confidence) in found.items()},
            languages={
                name: self._coded(sums[name], level.table.features, generator)
                for name, level in labels.items()
                if len(level.table)
            },
        )

    def _check(self, table: SegmentTable) -> None:
        """Raise ConfigError unless the centroids are of vectors as long as a level's."""
        if self._centroids is None or not len(table):
            return
        pieces, _, length = self._centroids.shape
        if pieces * length != table.features.shape[1]:
            raise ConfigError(
                f"option 'field.product_codes': {self._file} is for vectors of {pieces * length} numbers and the "
                f"encoder's have {table.features.shape[1]}; make it anew with scripts/fit_product_codes.py, or give ''"
            )

    def _coded(self, sums: NDArray[np.float32], features: Tensor, generator: torch.Generator) -> ProductCodes:
        """The product codes of the directions of sums [N, D]; where a sum is nothing, nothing is known."""
        vectors = torch.from_numpy(sums)
        centroids = self._centroids if self._centroids is not None else fitted_centroids(features, generator)
        code = encoded(normalize(vectors, dim=1), centroids)
        return ProductCodes(code=code, centroids=centroids, is_known=(vectors != 0).any(dim=1))


def add_features(sums: NDArray[np.float32], votes: Votes, features: Tensor) -> None:
    """Add to the sum [N, D] of each Gaussian the features [B, D] of the rows that it votes for, by weight, in place."""
    gaussian, place = np.unique(votes.gaussian.numpy(), return_inverse=True)
    row, column = np.unique(votes.label.numpy(), return_inverse=True)
    weights = csr_matrix((votes.weight.numpy(), (place, column)), shape=(len(gaussian), len(row)))
    sums[gaussian] += weights @ features[row].numpy(force=True)


def _zeros(count: int, table: SegmentTable) -> NDArray[np.float32]:
    return np.zeros((count, table.features.shape[1]), np.float32)
