# SPDX-License-Identifier: Apache-2.0
"""What Gaussians say for themselves: worked by hand, asked in a map, stored and read back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mini_scene import codebook_of, gaussians_at
from placed_things import shell
from test_requests_in_words import NAMES, NameEncoder

from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.languages import ProductCodes, SparseCodes
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load, publish
from ccl_lgs_ros.structures import SemanticLevel, SemanticMap

COUNT = len(shell((0.0, 0.0, 0.0), (0.2, 0.2, 0.2)))


def test_sparse_codes_weigh_their_entries() -> None:
    codes = SparseCodes.of(
        torch.tensor([[0, 1], [2, -1], [-1, -1]]), torch.tensor([[3.0, 1.0], [5.0, 9.0], [0.0, 0.0]])
    )
    assert codes.weight.tolist() == [[191, 64], [255, 0], [0, 0]]
    found = codes.relevancy(lambda entries: entries[:, 0], torch.tensor([[1.0], [0.2], [0.6]]))
    assert found.tolist() == pytest.approx([(191 + 64 * 0.2) / 255, 0.6, 0.0])
    assert codes.bytes_per_gaussian == 10
    assert codes.select(torch.tensor([False, True, False])).entry.tolist() == [[2, -1]]


def test_product_codes_are_put_together_from_their_pieces() -> None:
    centroids = torch.zeros(2, 256, 2)
    centroids[0, 7], centroids[1, 9] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    code = torch.tensor([[7, 9], [7, 0]], dtype=torch.uint8)
    codes = ProductCodes(code=code, centroids=centroids, is_known=torch.tensor([True, False]))
    assert torch.allclose(codes.decoded(slice(0, 1)), torch.tensor([[0.6, 0.0, 0.0, 0.8]]))
    found = codes.relevancy(lambda features: features[:, 3], torch.zeros(0, 4))
    assert found.tolist() == pytest.approx([0.8, 0.0])
    assert codes.bytes_per_gaussian == 2


def two_boxes() -> SemanticMap:
    """Two boxes that are one track, a lamp by its entry; the second says mug for itself."""
    points = torch.cat([torch.from_numpy(shell((x, 0.0, 0.0), (0.2, 0.2, 0.2))) for x in (0.0, 1.0)]).numpy()
    names = codebook_of(torch.eye(len(NAMES)))
    entry = torch.tensor([[NAMES.index("lamp")]] * COUNT + [[NAMES.index("mug")]] * COUNT)
    level = SemanticLevel(
        track_of_gaussian=torch.zeros(2 * COUNT, dtype=torch.int32),
        confidence=torch.full((2 * COUNT,), 255, dtype=torch.uint8),
        entry_of_track=torch.tensor([NAMES.index("lamp")]),
        codebook=names,
        language=SparseCodes.of(entry, torch.ones(2 * COUNT, 1)),
        uncertainty=torch.arange(2 * COUNT).to(torch.uint8),
    )
    return SemanticMap(gaussians=gaussians_at(points, scale=0.015), levels={"wp": level}, encoder="test/1", version=1)


@pytest.mark.parametrize(("prompt", "middle"), [("lamp", 0.0), ("mug", 1.0)])
def test_gaussians_answer_for_themselves(prompt: str, middle: float) -> None:
    found = query_map(two_boxes(), prompt, MapConfig(), NameEncoder())
    assert [round(float(instance.centroid[0]), 2) for instance in found.instances] == [middle]
    assert not query_map(two_boxes(), "shelf", MapConfig(), NameEncoder()).instances


def test_a_language_is_stored_and_read_back(tmp_path: Path) -> None:
    directory = MapDirectory.create(tmp_path / "map")
    semantic_map = two_boxes()
    publish(directory, semantic_map)
    level = load(directory).levels["wp"]
    assert isinstance(level.language, SparseCodes) and level.uncertainty is not None
    assert torch.equal(level.language.entry, semantic_map.levels["wp"].language.tensors()["entry"])  # type: ignore[union-attr]
    assert torch.equal(level.uncertainty, torch.arange(2 * COUNT).to(torch.uint8))
    generator = torch.Generator().manual_seed(0)
    product = ProductCodes(
        code=torch.randint(0, 256, (2 * COUNT, 3), generator=generator).to(torch.uint8),
        centroids=torch.randn(3, 256, len(NAMES) // 3, generator=generator),
        is_known=torch.ones(2 * COUNT, dtype=torch.bool),
    )
    other = replace(semantic_map, levels={"wp": replace(semantic_map.levels["wp"], language=product)})
    publish(directory, other)
    again = load(directory).levels["wp"].language
    assert isinstance(again, ProductCodes) and torch.equal(again.decoded(slice(0, 9)), product.decoded(slice(0, 9)))
