# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run: each at a small size, which tries the script and writes nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import Report
from suite import BENCHMARKS as NAMES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_at_a_small_size_and_writes_nothing(name: str) -> None:
    results = {path: path.stat().st_mtime_ns for path in (BENCHMARKS / "results").iterdir()}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", *(["--cpu"] if name == "gpu" else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert results == {path: path.stat().st_mtime_ns for path in (BENCHMARKS / "results").iterdir()}


def test_every_benchmark_of_make_bench_has_its_script() -> None:
    assert all((BENCHMARKS / f"{name}.py").is_file() for name in NAMES)


def test_what_comes_through_a_near_gaussian_is_the_weight_of_the_far_one() -> None:
    from gpu import weights_of_pairs

    means, conics = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    gaussian, pixel = torch.tensor([1, 0, 0]), torch.tensor([0, 0, 1])
    weight = weights_of_pairs(means, conics, torch.tensor([0.5, 0.8]), gaussian, pixel, width=2)
    assert weight.tolist() == pytest.approx([0.8, 0.5 * 0.2, 0.5 * float(np.exp(-0.5))], rel=1e-5)


def test_a_figure_is_held_against_its_bar_and_its_floor(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report = Report("trial")
    report.add("fast enough", 2.0, "ms", at_most=3.0, floor=0.5)
    report.add("too slow", 2.0, "x", at_least=3.0, note="the reason")
    assert [figure.passes for figure in report.figures] == [True, False]
    printed = capsys.readouterr().out
    assert "4.0x" in printed and "MISSED" in printed
    assert report.save(tmp_path) == tmp_path / "trial.json"
    assert '"passes": false' in (tmp_path / "trial.json").read_text()


def test_a_quick_run_saves_nothing(tmp_path: Path) -> None:
    assert Report("trial", quick=True).save(tmp_path) is None
    assert not list(tmp_path.iterdir())
