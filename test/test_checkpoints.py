# SPDX-License-Identifier: Apache-2.0
"""Weights are found where they may lie, fetched on request only, and loaded strictly or refused in one sentence."""

import http.server
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ccl_lgs_ros import cli
from ccl_lgs_ros.errors import ConfigError, MissingDependencyError, WeightsError
from ccl_lgs_ros.perception import checkpoints, downloads
from ccl_lgs_ros.perception.checkpoints import Release, Source, cached, fetch, fill_from, read_tensors

ROOT = Path(__file__).resolve().parent.parent
ADVICE = "ccl-lgs doctor --download sam2.1_hiera_t"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that no variable leads out of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def source(
    checkpoint: object = "", model: str = "sam2.1_hiera_t", family: str = "sam2", download: bool = False
) -> Source:
    return Source(family, model, str(checkpoint), download)


def written(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def is_one_sentence(text: str) -> bool:
    return "\n" not in text and ADVICE in text


PLACES = (
    "ccl_lgs_ros/weights/sam2.1_hiera_tiny.pt",
    "torch/hub/checkpoints/sam2.1_hiera_tiny.pt",
    "huggingface/hub/models--facebook--sam2.1-hiera-tiny/snapshots/0123/sam2.1_hiera_tiny.pt",
)


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_where_this_and_other_programs_leave_them(home: Path, place: str) -> None:
    assert is_one_sentence(source().problem())
    path = written(home / place)
    assert source().problem() == ""
    assert source().resolve() == path


def test_caches_that_were_moved_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "t"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "h"))
    in_hub = written(tmp_path / "h" / PLACES[2].removeprefix("huggingface/"))
    assert source().resolve() == in_hub
    in_torch = written(tmp_path / "t" / PLACES[1].removeprefix("torch/"))
    assert source().resolve() == in_torch


def test_an_empty_file_in_a_cache_is_as_good_as_none(home: Path) -> None:
    written(home / PLACES[0], b"")
    assert is_one_sentence(source().problem())


def test_a_missing_or_empty_file_that_was_named_is_an_error_that_says_how_to_get_the_right_one(tmp_path: Path) -> None:
    cases = {
        tmp_path / "none.pt": "does not exist",
        written(tmp_path / "e.pt", b""): "is empty",
        tmp_path: "not a file",
    }
    for path, reason in cases.items():
        with pytest.raises(MissingDependencyError, match=reason) as error:
            source(path).resolve()
        assert is_one_sentence(str(error.value)) and str(path) in str(error.value)


def test_a_published_file_says_by_its_name_which_model_it_holds(tmp_path: Path) -> None:
    path = written(tmp_path / "sam2.1_hiera_small.pt")
    assert source(path, model="").model == "sam2.1_hiera_s"
    assert source(path, model="sam2.1_hiera_t").model == "sam2.1_hiera_t"
    assert source("other.pt", model="").model == "sam2.1_hiera_l"
    assert "holds the weights of sam2, not sam" in source(path, model="", family="sam").problem()


def test_a_model_that_was_never_published_needs_a_file(tmp_path: Path) -> None:
    assert "name a file with the weights of mine" in source(model="mine", download=True).problem()
    assert source(written(tmp_path / "mine.pt"), model="mine").problem() == ""


def test_random_weights_are_said_aloud_and_recorded(caplog: pytest.LogCaptureFixture) -> None:
    assert source("random").resolve() is None
    assert source("random").description == "sam2/sam2.1_hiera_t/random"
    assert [r.levelname for r in caplog.records] == ["WARNING"] and "random" in caplog.text
    assert source().description == "sam2/sam2.1_hiera_t/sam2.1_hiera_tiny.pt"


# -> what reading or loading says
BROKEN = {
    "garbage": (b"\x00not weights" * 100, "damaged or no file of weights"),
    "text": (b"<html>404</html>", "damaged or no file of weights"),
    "a list": ([torch.zeros(2)], "damaged or no file of weights"),
    "numbers": ({"weight": 3}, "does not hold the weights of sam2.1_hiera_t"),
    "another shape": (torch.nn.Linear(5, 2).state_dict(), "does not hold the weights of sam2.1_hiera_t"),
    "too little": ({"weight": torch.zeros(2, 4)}, "does not hold the weights of sam2.1_hiera_t"),
    "too much": ({**torch.nn.Linear(4, 2).state_dict(), "more": torch.zeros(1)}, "does not hold the weights of"),
}


def load(path: Path) -> torch.nn.Linear:
    model = torch.nn.Linear(4, 2)
    fill_from(model, read_tensors(path, source().advice), path, source())
    return model


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_does_not_hold_the_weights_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, reason = BROKEN[name]
    path = tmp_path / "weights.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=reason) as error:
        load(path)
    assert is_one_sentence(str(error.value)) and str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_one_sentence(tmp_path: Path, share: float) -> None:
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    path = written(tmp_path / "part.pt", whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError) as error:
        load(path)
    assert is_one_sentence(str(error.value))


def test_the_right_file_is_loaded_exactly_and_the_model_set_to_inference(tmp_path: Path) -> None:
    trained = torch.nn.Linear(4, 2)
    torch.save(trained.state_dict(), tmp_path / "right.pt")
    model = load(tmp_path / "right.pt")
    assert torch.equal(model.weight, trained.weight) and torch.equal(model.bias, trained.bias)
    assert not model.training and not model.weight.requires_grad


class Planted:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    path = written(tmp_path / "evil.pt", pickle.dumps({"weight": Planted(tmp_path / "made")}, protocol=2))
    with pytest.raises(WeightsError):
        load(path)
    assert not (tmp_path / "made").exists()


def release(url: str) -> Release:
    return Release("sam2", "sam2.1_hiera_t", url)


def test_weights_are_fetched_on_request_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = written(tmp_path / "published.pt", b"some weights").as_uri()
    for module in (checkpoints, downloads):
        monkeypatch.setattr(module, "RELEASES", (release(url),))
    assert source().problem() and not cached(release(url))
    assert source(download=True).problem() == ""
    path = source(download=True).resolve()
    assert path == home / "ccl_lgs_ros" / "weights" / "published.pt" and path.read_bytes() == b"some weights"
    assert source().resolve() == path
    path.unlink()
    assert cli.main(["doctor", "--download", "sam2.1_hiera_t"]) == 0  # what the error's advice says
    assert str(path) in capsys.readouterr().out and source().resolve() == path


class Short(http.server.BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200 if "short" in self.path else 404)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x" * 60)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Short) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize(("name", "reason"), [("short.pt", "60 of 100 bytes"), ("gone.pt", "Not Found")])
def test_a_download_that_fails_leaves_nothing_behind(home: Path, server: str, name: str, reason: str) -> None:
    with pytest.raises(MissingDependencyError, match=reason) as error:
        fetch(release(f"{server}/{name}"))
    assert "\n" not in str(error.value) and str(home) in str(error.value)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_an_unknown_name_to_download_is_named_with_what_would_be_right() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'sam2\.1_hiera_t'"):
        downloads.fetch_named("sam2.1_hira_t")


def test_a_machine_without_weights_takes_the_builtin_parts_without_importing_a_model_package(home: Path) -> None:
    code = """
import sys, logging
from ccl_lgs_ros.backends import configured_part, reasons_against
from ccl_lgs_ros.config import MapConfig
logging.basicConfig(level=logging.WARNING, format="%(message)s")
print(configured_part("segmenter", MapConfig())[1], configured_part("encoder", MapConfig())[1])
reasons_against("propagator", MapConfig())
print(sorted({"sam2", "segment_anything", "open_clip", "torchvision", "timm", "hydra"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines() == ["builtin builtin", "[]"]
    lines = done.stderr.splitlines()
    assert [line.split(",")[0] for line in lines] == ["segmenter: using builtin", "encoder: using builtin"]
    assert "ccl-lgs doctor --download sam2.1_hiera_l" in lines[0]


def test_an_absent_or_broken_package_is_said_in_one_sentence_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ccl_lgs_ros.perception import networks

    monkeypatch.setitem(networks.INSTALL, "no_such_package", "pip install it")
    assert (
        networks.import_problem("no_such_package", "x")
        == "no_such_package is not installed; install it with: pip install it"
    )
    written(tmp_path / "broken_package" / "__init__.py", b"raise RuntimeError('operator nms\\ndoes not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(networks.INSTALL, "broken_package", "pip install it")
    problem = networks.import_problem("broken_package", "broken_package")
    assert problem == "broken_package cannot be imported (operator nms); install it for this torch with: pip install it"
    with pytest.raises(MissingDependencyError, match="operator nms"):
        networks.require("broken_package", "broken_package")


def test_making_a_model_leaves_the_callers_random_numbers_alone() -> None:
    from ccl_lgs_ros.perception.networks import seeded

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(1):
        assert torch.equal(torch.rand(3), first)
