# SPDX-License-Identifier: Apache-2.0
"""Laws of what trainings share: tensors that Adam moves and that go on, and the pixels that a step looks at."""

import pytest
import torch
from torch import Tensor

from ccl_lgs_ros.field.pixels import HELD_OUT_STRIDE, SCORED_SHARE, at_most, drawn_pixels
from ccl_lgs_ros.field.trained import Trained, named
from ccl_lgs_ros.structures import NONE

CPU = torch.device("cpu")
RATES = {"fast": 0.1, "slow": 0.01}


def trained(seed: int = 0) -> Trained:
    start = {name: (torch.ones(3), rate) for name, rate in RATES.items()}
    return Trained(start, CPU, torch.Generator().manual_seed(seed))


def step(one: Trained) -> float:
    """Towards noise, so that both moments of Adam and the generator matter."""
    one.steps["noisy"] += 1
    wanted = torch.randn(3, generator=one.generator)
    return one.descend([(tensor - wanted).square().sum() for tensor in one.now.values()])


def test_a_step_goes_down_the_sum_of_the_losses_by_the_rate_of_each_tensor():
    one = trained()
    assert one.descend([one.now["fast"].sum(), 2.0 * one.now["slow"].sum()]) == pytest.approx(9.0)
    for name, rate in RATES.items():  # a first step of Adam is as long as its rate
        torch.testing.assert_close(one.values[name], torch.full((3,), 1.0 - rate))


def test_what_a_loss_does_not_ask_stays():
    one = trained()
    step(one)
    before = one.values["slow"].clone()
    one.descend([one.now["fast"].sum()])
    assert torch.equal(one.values["slow"], before)


def test_what_starts_it_is_never_changed():
    start = torch.ones(3)
    one = Trained({"only": (start, 0.1)}, CPU, torch.Generator())
    one.descend([one.now["only"].sum()])
    assert torch.equal(start, torch.ones(3)) and not torch.equal(one.values["only"], start)


@pytest.mark.parametrize("before", [0, 4])
def test_what_is_restored_goes_on_as_if_it_had_not_stopped(before: int):
    whole, stopped, resumed = trained(), trained(), trained(seed=9)
    for _ in range(before):
        step(stopped)
    resumed.restore(stopped.tensors())
    assert resumed.steps["noisy"] == before
    for _ in range(before + 5):
        step(whole)
    for _ in range(5):
        step(resumed)
    assert all(torch.equal(tensor, whole.tensors()[name]) for name, tensor in resumed.tensors().items())


def test_where_nothing_is_trained_nothing_happens():
    nothing = Trained({}, CPU, torch.Generator().manual_seed(3))
    assert nothing.descend([]) == 0.0 and not nothing.values
    other = Trained({}, CPU, torch.Generator())
    other.restore(nothing.tensors())
    assert torch.equal(torch.rand(2, generator=other.generator), torch.rand(2, generator=nothing.generator))


def test_a_prefix_names_a_group():
    values = {"a.x": torch.zeros(1), "b.x": torch.ones(1), "a.y": torch.ones(1)}
    assert {name: float(tensor) for name, tensor in named(values, "a.").items()} == {"x": 0.0, "y": 1.0}


def drawn(batch_px: int, wanted: Tensor, alpha: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    return drawn_pixels(wanted, alpha, batch_px, torch.Generator().manual_seed(seed))


def test_pixels_are_learnt_from_or_scored_where_something_covers_them_and_they_should_show_something():
    wanted, alpha = torch.arange(80).view(8, 10) % 3, torch.ones(8, 10)
    wanted[2], alpha[4] = NONE, 0.5
    learnt, scored = drawn(0, wanted, alpha)
    is_usable = torch.ones(8, 10, dtype=torch.bool)
    is_usable[[2, 4]] = False
    assert sorted([*learnt.tolist(), *scored.tolist()]) == torch.nonzero(is_usable.flatten())[:, 0].tolist()
    assert HELD_OUT_STRIDE == 4 and scored.tolist() == [0, 4, 8]  # of row 0; row 4 is not covered


def test_a_batch_is_a_sample_of_those_pixels_and_an_eighth_of_it_is_scored():
    wanted, alpha = torch.zeros(40, 40, dtype=torch.int32), torch.ones(40, 40)
    everyone, held_out = (set(rows.tolist()) for rows in drawn(0, wanted, alpha))
    learnt, scored = drawn(60, wanted, alpha)
    assert (len(learnt), len(scored)) == (60, -(-60 // SCORED_SHARE))
    assert set(learnt.tolist()) <= everyone and set(scored.tolist()) <= held_out
    assert torch.equal(learnt, drawn(60, wanted, alpha)[0]) and not torch.equal(learnt, drawn(60, wanted, alpha, 1)[0])


def test_few_rows_are_all_drawn_and_in_order():
    rows = torch.tensor([5, 2, 9])
    for count in (0, 3, 4):
        assert torch.equal(at_most(count, rows, torch.Generator()), rows)
    assert len(at_most(2, rows, torch.Generator())) == 2
    assert len(at_most(2, rows[:0], torch.Generator())) == 0
