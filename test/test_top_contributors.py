# SPDX-License-Identifier: Apache-2.0
"""Language registered by the heaviest of each ray: sums and codes worked by hand, and laws on a wall of two things."""

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_wall import Views, is_clear, is_right, labels_by_side, wall
from torch.nn.functional import normalize

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.field.product_quantizer import (
    CENTROIDS,
    encoded,
    fitted_centroids,
    num_pieces,
    read_centroids,
    write_centroids,
)
from ccl_lgs_ros.field.top_contributors import TopContributorsLifter, add_features
from ccl_lgs_ros.labelling import LevelLabels, Lifting, SegmentTable
from ccl_lgs_ros.languages import ProductCodes
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.protocols import NoCheckpoint, no_progress
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.structures import Codebook, Gaussians, Votes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lifted(views: Views, gaussians: Gaussians, labels: LevelLabels, product_codes: str = "", most: int = 5) -> Lifting:
    lifter = TopContributorsLifter(
        top_contributors=most, product_codes=product_codes, slots=4, min_confidence=0.5, min_labelled=0.4
    )
    return lifter.lift(
        gaussians,
        views,
        dict.fromkeys(LEVELS, labels),
        TorchRasterizer(),
        generator=seeded(),
        checkpoint=NoCheckpoint(),
        progress=no_progress,
    )


def language(lifting: Lifting, level: str = "wp") -> ProductCodes:
    found = lifting.languages[level]
    assert isinstance(found, ProductCodes)
    return found


def test_features_are_summed_by_the_weight_of_their_votes() -> None:
    features = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]])
    votes = Votes(
        gaussian=torch.tensor([0, 0, 2]),
        label=torch.tensor([1, 2, 2]),
        weight=torch.tensor([0.5, 2.0, 3.0]),
        visibility=torch.zeros(4),
    )
    sums = np.zeros((4, 2), np.float32)
    add_features(sums, votes, features)
    assert sums.tolist() == [[0.5, 2.0], [0.0, 0.0], [0.0, 3.0], [0.0, 0.0]]
    add_features(sums, votes, features)
    assert sums.tolist() == [[1.0, 4.0], [0.0, 0.0], [0.0, 6.0], [0.0, 0.0]]


def test_a_vector_is_cut_into_as_many_pieces_as_divide_it() -> None:
    assert {dim: num_pieces(dim) for dim in (512, 768, 130, 5, 131)} == {512: 128, 768: 128, 130: 65, 5: 5, 131: 1}


def test_a_vector_is_named_by_the_nearest_centroid_of_each_piece() -> None:
    centroids = torch.full((2, CENTROIDS, 2), 9.0)
    centroids[0, 7], centroids[0, 8] = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    centroids[1, 3], centroids[1, 255] = torch.tensor([0.0, 0.0]), torch.tensor([0.6, 0.8])
    features = torch.tensor([[0.1, 0.7, 0.1, -0.1], [0.9, 0.2, 0.5, 0.5]])
    code = encoded(features, centroids)
    assert code.dtype == torch.uint8 and code.tolist() == [[7, 3], [8, 255]]
    codes = ProductCodes(code=code, centroids=centroids, is_known=torch.ones(2, dtype=torch.bool))
    expected = normalize(torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.6, 0.8]]), dim=1)
    torch.testing.assert_close(codes.decoded(slice(0, 2)), expected)
    assert encoded(torch.zeros(0, 4), centroids).shape == (0, 2)


def test_few_vectors_are_their_own_centroids() -> None:
    features = normalize(torch.randn(40, 6, generator=seeded()), dim=1)
    centroids = fitted_centroids(features, seeded())
    assert centroids.shape == (6, CENTROIDS, 1)
    codes = ProductCodes(code=encoded(features, centroids), centroids=centroids, is_known=torch.ones(40).bool())
    torch.testing.assert_close(codes.decoded(slice(0, 40)), features)


def test_each_centroid_is_the_mean_of_what_it_names() -> None:
    features = torch.rand(300, 1, generator=seeded(3))
    centroids = fitted_centroids(features, seeded())
    code = encoded(features, centroids)[:, 0].long()
    assert len(code.unique()) == CENTROIDS
    means = torch.zeros(CENTROIDS).index_add_(0, code, features[:, 0]) / torch.bincount(code)
    torch.testing.assert_close(centroids[0, :, 0], means)


def test_fitting_again_gives_the_same() -> None:
    features = torch.randn(400, 8, generator=seeded(1))
    assert torch.equal(fitted_centroids(features, seeded()), fitted_centroids(features, seeded()))


def test_gaussians_say_what_their_segments_look_like() -> None:
    gaussians, labels = wall(), labels_by_side()
    lifting = lifted(Views(), gaussians, labels)
    for level in LEVELS:
        codes, label = language(lifting, level), lifting.label_of_gaussian[level]
        is_sure = codes.is_known & is_clear(gaussians)
        assert is_sure.sum() > 100 and codes.bytes_per_gaussian == 4
        vectors = codes.decoded(slice(None))[is_sure]
        expected = torch.eye(4)[torch.where(is_right(gaussians)[is_sure], 0, 2)]
        assert ((vectors * expected).sum(dim=1) > 0.9).all()
        has_label = (label >= 0) & is_clear(gaussians)
        assert torch.equal(label[has_label].long(), is_right(gaussians)[has_label].long())


def test_what_shines_through_from_behind_learns_nothing_where_only_the_heaviest_counts() -> None:
    front = wall()
    behind = Gaussians(**{**front.tensors(), "means": front.means * 2.0, "log_scales": front.log_scales + 0.7})
    front = Gaussians(**{**front.tensors(), "logit_opacities": torch.full((len(front),), 6.0)})
    both = front.joined(behind)
    few, every = (language(lifted(Views(), both, labels_by_side(), most=most)).is_known for most in (1, 0))
    assert few[: len(front)].sum() > 200 and every[len(front) :].sum() > 300
    assert not few[len(front) :].any()


def test_lifting_again_gives_the_same() -> None:
    first, second = (language(lifted(Views(), wall(), labels_by_side())) for _ in range(2))
    assert torch.equal(first.code, second.code) and torch.equal(first.centroids, second.centroids)


def test_a_map_without_gaussians_views_or_segments_is_lifted_to_nothing(tmp_path: Path) -> None:
    none = language(lifted(Views(), Gaussians.empty(), labels_by_side()))
    assert none.code.shape == (0, 4)
    assert not language(lifted(Views(0), wall(), labels_by_side())).is_known.any()
    nothing = torch.zeros(0, dtype=torch.int64)
    table = SegmentTable(features=torch.zeros(0, 1), track=nothing, weight=torch.zeros(0), start=nothing.new_zeros(1))
    bare = LevelLabels(
        table=table, label_of_row=nothing, track_of_label=nothing, code_of_label=nothing, codebook=Codebook.empty(1)
    )
    file = tmp_path / "codes.safetensors"
    write_centroids(file, torch.zeros(4, CENTROIDS, 1))
    lifting = lifted(Views(0), wall(), bare, str(file))
    assert not lifting.languages and (lifting.label_of_gaussian["wp"] == -1).all()


def test_centroids_of_a_file_are_what_a_map_is_kept_by(tmp_path: Path) -> None:
    file = tmp_path / "codes.safetensors"
    centroids = fitted_centroids(torch.randn(600, 4, generator=seeded(2)), seeded())
    write_centroids(file, centroids)
    assert torch.equal(read_centroids(file), centroids)
    assert torch.equal(language(lifted(Views(), wall(), labels_by_side(), str(file))).centroids, centroids)


def test_centroids_of_another_language_space_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "codes.safetensors"
    write_centroids(file, torch.zeros(3, CENTROIDS, 2))
    with pytest.raises(ConfigError, match=r"'field.product_codes'.*vectors of 6 numbers.*encoder's have 4"):
        lifted(Views(), wall(), labels_by_side(), str(file))


def test_a_file_without_centroids_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "codes.safetensors"
    with pytest.raises(ConfigError, match=r"'field.product_codes'.*holds no centroids"):
        lifted(Views(), wall(), labels_by_side(), str(file))
    for content in (b"no safetensors", b""):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no centroids"):
            read_centroids(file)
    write_centroids(file, torch.zeros(3, 5, 2))
    with pytest.raises(ConfigError, match="holds no centroids"):
        read_centroids(file)
