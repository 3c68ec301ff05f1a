# SPDX-License-Identifier: Apache-2.0
"""Fits the centroids that language vectors are kept by, once for a language space:

    python scripts/fit_product_codes.py VECTORS.npy [VECTORS.npy ...] -o codes.safetensors

Each file holds vectors of the space as rows [n, D], or as columns where there are more of them than numbers in each;
thousands, of what maps will hold: image crops of many things, or the text vectors of many names. What comes out is for
the option field.product_codes of the lifter top_contributors.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.field.product_quantizer import encoded, fitted_centroids, write_centroids
from ccl_lgs_ros.languages import ProductCodes
from ccl_lgs_ros.perception.text_tables import read_vectors

HELD_OUT = 10  # every so many vectors are left out first, to say what the codes keep of vectors never seen


def read(paths: list[Path], dim: int) -> torch.Tensor:
    """The unit vectors [n, dim] of all files."""
    blocks = []
    for path in paths:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        blocks.append(read_vectors(path, max(shape) if dim not in shape else shape[1 - shape.index(dim)]))
    return torch.from_numpy(np.concatenate(blocks))


def kept(vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The cosine [n] of vectors [n, D] with what their codes stand for."""
    is_known = torch.ones(len(vectors), dtype=torch.bool)
    codes = ProductCodes(code=encoded(vectors, centroids), centroids=centroids, is_known=is_known)
    return (codes.decoded(slice(None)) * vectors).sum(dim=1)


def main() -> int:
    """Fit, say how well, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path, nargs="+", metavar="VECTORS.npy")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--dim", type=int, default=512, help="numbers of a vector (default: 512)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        vectors = read(arguments.vectors, arguments.dim)
    except (ConfigError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    is_held_out = torch.arange(len(vectors)) % HELD_OUT == 0
    tried = fitted_centroids(vectors[~is_held_out], torch.Generator().manual_seed(arguments.seed))
    centroids = fitted_centroids(vectors, torch.Generator().manual_seed(arguments.seed))
    write_centroids(arguments.output, centroids)
    print(
        f"{len(vectors)} vectors of {vectors.shape[1]} numbers: {centroids.shape[0]} bytes each; cosine with what they "
        f"stand for {float(kept(vectors, centroids).mean()):.4f}, of vectors that were left out "
        f"{float(kept(vectors[is_held_out], tried).mean()):.4f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
