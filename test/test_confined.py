# SPDX-License-Identifier: Apache-2.0
"""Neither the files of a map nor the callers of a service lead out of the folders that are theirs."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.storage.confined import is_inside, own_file, permitted

PIECES = st.sampled_from(["a", "map", "..", ".", "", "~", "link", "/", "etc", "$HOME", "\0", "é", "x" * 300, "\ud800"])
PATHS = st.lists(PIECES, max_size=6).map("/".join)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file, a link that stays inside, one that leads out, and one that leads round and round."""
    root = tmp_path_factory.mktemp("root")
    (root / "a").mkdir()
    (root / "a" / "file").write_text("ours")
    (root.parent / "secret").write_text("not ours")
    (root / "inner").symlink_to(root / "a")
    (root / "link").symlink_to(root.parent)
    (root / "round").symlink_to(root / "round")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize("name", ["a/file", "inner/file", "a/missing", "new.txt"])
def test_files_inside_are_found(root: Path, name: str) -> None:
    assert own_file(root, name) == root / name


@pytest.mark.parametrize(
    "name",
    ["../secret", "link/secret", "/etc/passwd", "a/../../secret", "", ".", "a\0b", "round", "pipe", "a", 3],
)
def test_what_leads_out_of_a_map_or_is_no_file_is_refused(root: Path, name: object) -> None:
    with pytest.raises(MapError, match=root.name):
        own_file(root, name)


@given(PATHS)
def test_no_name_of_a_file_leads_out(root: Path, name: str) -> None:
    try:
        path = own_file(root, name)
    except MapError:
        return
    assert is_inside(name) and path.resolve().is_relative_to(root)


@settings(max_examples=300)
@given(PATHS)
@example("a/../../x")
@example("link/x")
@example("~")
@example("round/x")
def test_no_caller_leaves_the_root(root: Path, path: str) -> None:
    try:
        found = permitted(path, root)
    except MapError as error:
        assert str(error)
        assert "\0" not in str(error)
        return
    assert found.resolve().is_relative_to(root) and ".." not in found.parts


@pytest.mark.parametrize("path", ["maps/a", "./maps/a", "maps/b/../a"])
def test_a_relative_path_begins_at_the_root(root: Path, path: str) -> None:
    assert permitted(path, root) == root / "maps" / "a"
    assert permitted(str(root / path), root) == root / "maps" / "a"


def test_variables_are_told_to_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "abc123")
    with pytest.raises(MapError) as error:
        permitted("$SECRET", root)
    assert "abc123" not in str(error.value)
    assert permitted("$SECRET/map", None) == Path("abc123/map")


def test_a_trusted_caller_goes_anywhere(root: Path) -> None:
    assert permitted("/etc/map", None) == Path("/etc/map")
    assert permitted("~/map", None) == Path.home() / "map"
    with pytest.raises(MapError):
        permitted("", None)
