# SPDX-License-Identifier: Apache-2.0
"""Other ways to keep language on Gaussians, each asked as fast as we can: the controls of the benchmark of queries.

A dense vector per Gaussian is multiplied by torch on all cores. A k-sparse code is a few weights on the rows of a small
codebook: the products of the rows with the texts are gathered and summed by one compiled loop on every core. All end in
the same relevancy: the least softmax against a negative.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccl_lgs_ros.perception.text_relevancy import text_relevancy


def dense_scores(features: Tensor, prompt: Tensor, negatives: Tensor, sharpness: float) -> Tensor:
    """The relevancy [N] of features [N, D]: one product with all texts, so that features are read once."""
    cosine = features @ torch.cat([prompt[None], negatives]).T
    lead = cosine[:, 0] - cosine[:, 1:].amax(dim=1)
    return (sharpness * lead).sigmoid()


class SparseCodes:
    """Language as k weights per Gaussian on the rows of a codebook, already divided by the length of their sum."""

    def __init__(self, entries: Tensor, slots: int, num_gaussians: int, seed: int = 0) -> None:
        """Random codes: what they say does not change how long they take to read."""
        random = np.random.default_rng(seed)
        narrow = np.uint8 if len(entries) <= 256 else np.uint16
        self.entries = entries
        self.index = random.integers(0, len(entries), (num_gaussians, slots), dtype=narrow)
        self.weight = random.random((num_gaussians, slots), dtype=np.float32)
        products = (entries @ entries.T).numpy()
        square = np.zeros(num_gaussians, dtype=np.float32)
        for a in range(slots):
            for b in range(slots):
                product = products[self.index[:, a], self.index[:, b]]
                square += self.weight[:, a] * self.weight[:, b] * product
        self.weight /= np.sqrt(square)[:, None]

    @property
    def bytes_per_gaussian(self) -> float:
        """What has to be read of each."""
        return (self.index.nbytes + self.weight.nbytes) / len(self.index)

    def features(self, which: slice) -> Tensor:
        """The decoded features [n, D]."""
        rows = self.entries[torch.from_numpy(self.index[which].astype(np.int64))]
        return (rows * torch.from_numpy(self.weight[which])[..., None]).sum(dim=1)

    def scores(
        self, prompt: Tensor, negatives: Tensor, sharpness: float, pool: ThreadPoolExecutor, cores: int
    ) -> NDArray:
        """The relevancy [N]."""
        texts = torch.cat([prompt[None], negatives])
        table = (self.entries @ texts.T).numpy()
        found = np.empty(len(self.index), dtype=np.float32)
        bounds = np.linspace(0, len(found), cores + 1).astype(int)
        parts = [slice(a, b) for a, b in pairwise(bounds)]
        list(pool.map(lambda p: _sum_slots(self.index[p], self.weight[p], table, sharpness, found[p]), parts))
        return found


@numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", boundscheck=False)
def _sum_slots(index: NDArray, weight: NDArray, table: NDArray, sharpness: float, found: NDArray) -> None:
    """One text and four negatives, each a sum in a register; a text in a loop of its own costs twice as much."""
    steep = np.float32(-sharpness)
    for i in range(index.shape[0]):
        a = b = c = d = e = np.float32(0.0)
        for slot in range(index.shape[1]):
            row, share = index[i, slot], weight[i, slot]
            a += share * table[row, 0]
            b += share * table[row, 1]
            c += share * table[row, 2]
            d += share * table[row, 3]
            e += share * table[row, 4]
        found[i] = np.float32(1.0) / (np.float32(1.0) + np.exp(steep * (a - max(max(b, c), max(d, e)))))


def agrees(codes: SparseCodes, prompt: Tensor, negatives: Tensor, sharpness: float, found: NDArray) -> bool:
    """Whether scores are those of the first decoded features by the package's own formula."""
    few = slice(0, min(1000, len(found)))
    expected = text_relevancy(codes.features(few), prompt, negatives, sharpness=sharpness, form="pairwise")
    return bool(np.allclose(found[few], expected.numpy(), atol=1e-4))
