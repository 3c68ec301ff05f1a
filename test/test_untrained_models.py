# SPDX-License-Identifier: Apache-2.0
"""The whole method runs on the models' adapters, and a map says that its models were untrained."""

from pathlib import Path

import pytest
import small_models
import torch
from small_room import keyframes, small_config

from ccl_lgs_ros.errors import EncoderMismatchError
from ccl_lgs_ros.level_names import LEVELS
from ccl_lgs_ros.pipeline import MapSession, query_map
from ccl_lgs_ros.storage.map_directory import MapDirectory

PERCEPTION = {
    "segmenter": "sam2",
    "encoder": "open_clip",
    **small_models.SAM2,
    **small_models.UNFILTERED,
    **small_models.OPEN_CLIP,
    "points_per_side": 2,
}
ASSOCIATION = {"associator": "tracker", "propagator": "sam2", **small_models.PROPAGATOR}
MASKS = {"min_quality": 0.0, "max_overlap": 1.0, "min_area_px": 1}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    small_models.register_small_sam()
    small_models.register_small_clip()


def test_a_map_is_made_with_sam2_and_open_clip_and_records_that_their_weights_were_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # an untrained model is sure of nothing; here its masks are taken as if it were
    monkeypatch.setattr("ccl_lgs_ros.perception.point_grid.stability_of", lambda logits: torch.ones(len(logits)))
    groups = {"perception": PERCEPTION, "association": ASSOCIATION, "masks": MASKS}
    changes = {f"{group}__{name}": value for group, values in groups.items() for name, value in values.items()}
    config = small_config(**changes, codebook__fitter="kmeans", codebook__size=4)
    session = MapSession(config, MapDirectory.open_or_create(tmp_path))
    made = session.build(keyframes()[:3])

    weights = f"sam2/{small_models.SAM2['segmenter_model']}/random"
    assert made.info["backends"]["segmenter"] == made.info["backends"]["propagator"] == weights
    assert made.encoder == f"open_clip/{small_models.SMALL_CLIP}/random-0"
    assert sum("the weights are random" in record.getMessage() for record in caplog.records) == 3
    assert set(made.levels) == set(LEVELS)
    for level in made.levels.values():
        assert level.codebook.entries.shape[1] == session.parts.encoder.dim
        assert level.num_tracks > 0 and (level.track_of_gaussian >= 0).any()
    answer = query_map(made, "red mug", config, session.parts.encoder)
    assert 0.0 < answer.best_score < 1.0 and answer.prompt.unknown_words == ()

    with pytest.raises(EncoderMismatchError):
        query_map(made, "red mug", small_config(perception__encoder="builtin"))
