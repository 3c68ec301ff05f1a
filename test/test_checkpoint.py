# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is found by the work that it was saved for, whole or not at all."""

from pathlib import Path

import torch

from ccl_lgs_ros.storage.checkpoint import FileCheckpoint, fingerprint


def test_what_is_saved_is_found_by_the_same_work_alone(tmp_path: Path) -> None:
    path = tmp_path / "work" / "field.safetensors"
    tensors = {"step": torch.tensor(7), "features": torch.rand(4, 3)}
    assert FileCheckpoint(path, "one").load() == {}
    FileCheckpoint(path, "one").save(tensors)
    found = FileCheckpoint(path, "one").load()
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert FileCheckpoint(path, "another").load() == {}


def test_the_last_save_wins_and_removing_forgets(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "field.safetensors", "work")
    for step in range(3):
        checkpoint.save({"step": torch.tensor(step)})
    assert int(checkpoint.load()["step"]) == 2
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() == {}


def test_a_damaged_checkpoint_counts_as_absent(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "field.safetensors", "work")
    checkpoint.save({"step": torch.tensor(1)})
    content = (tmp_path / "field.safetensors").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"nonsense" * 9):
        (tmp_path / "field.safetensors").write_bytes(damaged)
        assert checkpoint.load() == {}


def test_a_fingerprint_tells_values_shapes_and_types_apart() -> None:
    base = torch.arange(6)
    others = [base.reshape(2, 3), base.float(), base.clone().index_fill(0, torch.tensor([3]), 9)]
    prints = {fingerprint(base), *(fingerprint(other) for other in others)}
    assert len(prints) == 4
    assert fingerprint(base.clone()) == fingerprint(base)
    assert fingerprint(base, base) != fingerprint(base)
