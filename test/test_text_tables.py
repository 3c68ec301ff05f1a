# SPDX-License-Identifier: Apache-2.0
"""Tables of text vectors: what files may look like, and which names a prompt holds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.perception.text_tables import (
    TextTable,
    normalised,
    read_names,
    read_text_tables,
    singular,
    synonyms,
)

NAMES = ["mug/cup", "coffee_maker, coffee machine", "monitor_(computer_equipment) computer_monitor", "Glasses", "desk"]


def write(folder: Path, vectors: np.ndarray, names: list[str], stem: str = "t") -> str:
    np.save(folder / f"{stem}.npy", vectors)
    (folder / f"{stem}.json").write_text(json.dumps(names))
    return f"{folder / stem}.npy={folder / stem}.json"


@pytest.fixture
def table(tmp_path: Path) -> TextTable:
    return read_text_tables(write(tmp_path, np.eye(5, 7, dtype=np.float16) * 3, NAMES))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("mug/cup", ("mug", "cup")),
        ("coffee_maker, coffee machine", ("coffee maker", "coffee machine")),
        ("bat_(animal)", ("bat",)),
        ("monitor_(computer_equipment) computer_monitor", ("monitor", "computer monitor")),
        ("Kitchen & dining room table", ("kitchen dining room table",)),
        ("Cup/cup", ("cup",)),
    ],
)
def test_an_entry_stands_for_all_its_synonyms(entry: str, expected: tuple[str, ...]) -> None:
    assert synonyms(entry) == expected


def test_words_are_compared_without_case_underscores_and_hyphens() -> None:
    assert normalised("  Hot-Air_Balloon! ") == "hot air balloon"


@pytest.mark.parametrize(
    ("plural", "one"),
    [("mugs", "mug"), ("boxes", "box"), ("berries", "berry"), ("glasses", "glass"), ("dish brushes", "dish brush")]
    + [(word, word) for word in ("bus", "glass", "tennis", "gas", "mug")],
)
def test_the_last_word_is_put_in_the_singular(plural: str, one: str) -> None:
    assert singular(plural) == one


@pytest.mark.parametrize(
    ("phrase", "row"),
    [("cup", 0), ("Mugs", 0), ("coffee machines", 1), ("computer monitor", 2), ("monitor", 2), ("glasses", 3)],
)
def test_every_synonym_and_plural_points_to_its_row(table: TextTable, phrase: str, row: int) -> None:
    assert table.vector(phrase).tolist() == torch.eye(5, 7)[row].tolist()


def test_the_singular_of_a_plural_entry_is_known_too(table: TextTable) -> None:
    assert table.knows("glass")


def test_unknown_names_are_said_to_be_so(table: TextTable) -> None:
    assert not table.knows("zebra")
    with pytest.raises(KeyError):
        table.vector("zebra")


def test_a_name_of_several_rows_has_the_direction_of_their_mean(tmp_path: Path) -> None:
    first = write(tmp_path, np.array([[2.0, 0.0], [0.0, 1.0]], np.float32), ["mug", "desk"], "a")
    second = write(tmp_path, np.array([[0.0, 4.0]], np.float32), ["Mug"], "b")
    joined = read_text_tables(f"{first}, {second}")
    assert torch.allclose(joined.vector("mug"), torch.full((2,), 0.5**0.5))
    assert torch.allclose(joined.mean, torch.tensor([1 / 3, 2 / 3]))


@pytest.mark.parametrize(
    ("text", "names", "unknown"),
    [
        ("computer monitor", ("computer monitor",), ()),
        ("red mug on the desk", ("mug", "desk"), ("red",)),
        ("the coffee machine", ("coffee machine",), ()),
        ("a zebra", (), ("zebra",)),
        ("desk with two computer monitors", ("desk", "computer monitors"), ("two",)),
        ("", (), ()),
    ],
)
def test_the_longest_names_in_a_prompt_are_taken_first(table: TextTable, text: str, names, unknown) -> None:
    assert table.names_in(text) == (names, unknown)


def test_vectors_may_lie_in_columns(tmp_path: Path) -> None:
    names = ["a1", "b1", "c1"]
    rows = np.arange(6, dtype=np.float16).reshape(3, 2) + 1
    by_rows = read_text_tables(write(tmp_path, rows, names))
    by_columns = read_text_tables(write(tmp_path, rows.T, names))
    assert torch.equal(by_rows.vectors, by_columns.vectors)
    assert torch.allclose(by_rows.vectors.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("n.txt", "person\ntraffic light\n"),
        ("n.json", '["person", "traffic light"]'),
        ("n.json", '[{"id": 1, "name": "person"}, {"id": 2, "name": "traffic light"}]'),
        ("n.csv", "1,Persn,person\n2,x,traffic light\n"),
    ],
)
def test_names_are_read_from_lines_json_and_csv(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert read_names(tmp_path / file) == ["person", "traffic light"]


@pytest.mark.parametrize(
    ("file", "text"), [("n.json", "{"), ("n.json", "[1]"), ("n.json", '[{"id": 1}]'), ("n.txt", "")]
)
def test_a_file_without_names_is_one_sentence(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match=r"n\.") as error:
        read_names(tmp_path / file)
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    pair = write(tmp_path, np.ones((3, 2), np.float32), ["a1", "b1"])
    assert read_text_tables(pair).vectors.shape == (2, 3)  # as columns it fits
    with pytest.raises(ConfigError, match="each of 4 names"):
        read_text_tables(write(tmp_path, np.ones((3, 2), np.float32), ["a1", "b1", "c1", "d1"]))
    with pytest.raises(ConfigError, match="zero or not finite"):
        read_text_tables(write(tmp_path, np.zeros((1, 2), np.float32), ["a1"]))
    with pytest.raises(ConfigError, match="different length: 2 and 3"):
        first = write(tmp_path, np.ones((1, 2), np.float32), ["a1"], "a")
        read_text_tables(f"{first},{write(tmp_path, np.ones((1, 3), np.float32), ['b1'], 'b')}")


@pytest.mark.parametrize("option", ["", "vectors.npy", "a=b=c"])
def test_the_option_wants_pairs_of_files(option: str) -> None:
    with pytest.raises(ConfigError, match=r"VECTORS\.npy=NAMES"):
        read_text_tables(option)


def test_a_missing_or_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("mug\n")
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY")
    for vectors in ("missing.npy", "damaged.npy"):
        with pytest.raises(ConfigError, match=vectors) as error:
            read_text_tables(f"{tmp_path / vectors}={tmp_path / 'names.txt'}")
        assert "\n" not in str(error.value)


@pytest.mark.data
def test_the_tables_of_clip_know_what_a_kitchen_holds(shared_data: Path) -> None:
    models = shared_data / "models"
    pairs = [
        ("lvis_v1_clip_a+cname.npy", "lvis1203_names.json"),
        ("o365_clip_a+cnamefix.npy", "Objects365_names_fix.csv"),
    ]
    table = read_text_tables(",".join(f"{models / vectors}={models / names}" for vectors, names in pairs))
    for name in ("mug", "chair", "book", "desk", "computer monitor", "coffee machine", "Wine Glasses"):
        assert table.knows(name), name
    likeness = {name: float(table.vector("mug") @ table.vector(name)) for name in ("cup", "elephant")}
    assert likeness["cup"] > likeness["elephant"] + 0.1
