# SPDX-License-Identifier: Apache-2.0
"""How an optimisation spends its steps and its time: what it moves, where it goes on, and when it ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from depth_scene import CAMERA, drive, seeded, view
from kept import Kept
from splat_scene import make_gaussians
from torch import Tensor

from ccl_lgs_ros.camera import Keyframe
from ccl_lgs_ros.errors import Cancelled
from ccl_lgs_ros.gaussians import schedule
from ccl_lgs_ros.gaussians.exposures import exposure_spread
from ccl_lgs_ros.gaussians.frustum import rows_in_view
from ccl_lgs_ros.gaussians.losses import colour_loss, ssim
from ccl_lgs_ros.gaussians.optimize import Optimized, optimized, psnr_report
from ccl_lgs_ros.gaussians.order import Order, spread
from ccl_lgs_ros.gaussians.parameters import COLUMNS, Parameters
from ccl_lgs_ros.gaussians.relocation import RelocatingDensifier
from ccl_lgs_ros.gaussians.schedule import COARSE_UNTIL, DENSIFY_UNTIL, Schedule, at_resolution
from ccl_lgs_ros.gaussians.seed import seed_gaussians
from ccl_lgs_ros.gaussians.splitting import SplittingDensifier
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.structures import NONE, Gaussians

RASTERIZER = NumbaRasterizer()
RATES = {name: 0.01 * (place + 1) for place, name in enumerate((*COLUMNS, "sh_constant", "sh_higher"))}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def run(start: Gaussians, keyframes: list[Keyframe], **options) -> Optimized:
    return optimized(start, keyframes, RASTERIZER, generator=generator(), **options)


def adam_by_torch(gaussians: Gaussians, gradients: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The Gaussians after torch's own Adam along gradients, all rows at every step."""
    parts = {name: tensor.clone() for name, tensor in gaussians.tensors().items()}
    sh = parts.pop("sh")
    parts |= {"sh_constant": sh[:, :1].clone(), "sh_higher": sh[:, 1:].clone()}
    adam = torch.optim.Adam([{"params": [tensor], "lr": RATES[name]} for name, tensor in parts.items()], eps=1e-15)
    for gradient in gradients:
        g = dict(gradient)
        g |= {"sh_constant": g["sh"][:, :1], "sh_higher": g["sh"][:, 1:]}
        for name, tensor in parts.items():
            tensor.grad = g[name].clone()
        adam.step()
    return parts | {"sh": torch.cat([parts["sh_constant"], parts["sh_higher"]], dim=1)}


def some_gradients(gaussians: Gaussians, count: int) -> list[dict[str, Tensor]]:
    chance = torch.Generator().manual_seed(7)
    shapes = {name: tensor.shape for name, tensor in gaussians.tensors().items()}
    return [{name: torch.randn(shape, generator=chance) for name, shape in shapes.items()} for _ in range(count)]


def packed(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(len(tensor), -1) for tensor in gradient.values()], dim=1)


def test_where_all_is_visible_it_is_adam() -> None:
    start = make_gaussians(30)
    gradients, parameters = some_gradients(start, 6), Parameters(start)
    for gradient in gradients:
        parameters.step(torch.arange(30), packed(gradient), parameters.rates(RATES))
    expected = adam_by_torch(start, gradients)
    for name, tensor in parameters.gaussians().tensors().items():
        assert torch.allclose(tensor, expected[name], atol=1e-5), name


def test_a_row_that_is_seen_now_and_then_is_where_adam_on_it_alone_would_be() -> None:
    start = make_gaussians(30)
    gradients, parameters = some_gradients(start, 9), Parameters(start)
    for turn, gradient in enumerate(gradients):
        rows = torch.arange(turn % 3, 30, 3)
        parameters.step(rows, packed(gradient)[rows], parameters.rates(RATES))
    expected = adam_by_torch(start, gradients[1::3])
    assert torch.allclose(parameters.gaussians().means[1::3], expected["means"][1::3], atol=1e-6)


def test_what_is_not_visible_is_not_touched() -> None:
    start = make_gaussians(30)
    parameters, rows = Parameters(start), torch.tensor([3, 8])
    others = torch.ones(30, dtype=torch.bool).index_fill_(0, rows, False)
    before = {name: tensor.clone() for name, tensor in parameters.tensors().items()}
    for _ in range(3):
        parameters.step(rows, torch.ones(2, parameters.values.shape[1]), parameters.rates(RATES))
    for name, tensor in parameters.tensors().items():
        assert torch.equal(tensor[others], before[name][others]), name
        assert not torch.equal(tensor[rows], before[name][rows]), name


def test_all_that_is_drawn_was_found_in_view() -> None:
    gaussians = make_gaussians(4000, sh_degree=0)
    chance = np.random.default_rng(2)
    num_found = 0
    for _ in range(12):
        pose = np.eye(4)
        pose[:3, 3] = chance.normal(0.0, 1.0, 3)
        keyframe = replace(view(), world_from_camera=pose)
        drawn = RASTERIZER.render(gaussians, CAMERA, pose).is_visible
        near = rows_in_view(gaussians.means, gaussians.log_scales, keyframe)
        is_near = torch.zeros(len(gaussians), dtype=torch.bool).index_fill_(0, near, True)
        assert not bool((drawn & ~is_near).any())
        num_found += len(near)
    assert num_found < 12 * len(gaussians)


@pytest.mark.parametrize("ssim_weight", [0.0, 0.2, 1.0])
def test_the_loss_and_its_gradient_are_those_of_the_plain_one(ssim_weight: float) -> None:
    chance = torch.Generator().manual_seed(4)
    shown, image = (torch.rand(30, 40, 3, generator=chance, dtype=torch.float64) for _ in range(2))
    weight = (torch.rand(30, 40, generator=chance) > 0.3).double()
    shown.requires_grad_()
    plain = (1.0 - ssim_weight) * ((shown - image).abs().mean(dim=2) * weight).sum() / weight.sum()
    similarity = ssim(torch.where(weight[..., None] > 0, shown, image), image)
    plain = plain + ssim_weight * (0.5 * (1.0 - similarity) * weight).sum() / weight.sum()
    fast = colour_loss(shown, image, weight, ssim_weight)
    assert float(fast.detach()) == pytest.approx(float(plain.detach()), rel=1e-9)
    (expected,), (found,) = (torch.autograd.grad(3.0 * loss, shown) for loss in (plain, fast))
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of densification that follow each other within few steps."""
    monkeypatch.setattr(schedule, "ROUND_STEPS", 2)


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt])
@pytest.mark.usefixtures("eager")
def test_what_was_stopped_goes_on_to_the_same_end(stop: type[BaseException]) -> None:
    keyframes, kept = drive(5), Kept()
    options = {"iterations": 24, "densifier": RelocatingDensifier(), "exposure": "always"}
    start = seeded(keyframes)
    whole = run(start, keyframes, **options)

    def stops(stage: str, done: int, total: int, **figures: float) -> None:
        if stage == "optimize" and done == 11:
            raise stop

    with pytest.raises(stop):
        run(start, keyframes, **options, checkpoint=kept, progress=stops)
    assert kept.tensors
    seen: list[int] = []
    resumed = run(
        start, keyframes, **options, checkpoint=kept, progress=lambda s, d, t, **_: seen.append(d * (s == "optimize"))
    )
    assert min(filter(None, seen)) == 12
    assert torch.equal(resumed.origin_of_gaussian, whole.origin_of_gaussian)
    for name, tensor in whole.gaussians.tensors().items():
        assert torch.equal(resumed.gaussians.tensors()[name], tensor), name


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("densifier", [RelocatingDensifier(), SplittingDensifier()], ids=["relocation", "splitting"])
def test_densification_grows_to_the_limit_and_never_beyond(densifier) -> None:
    keyframes = drive(4)
    start = seeded(keyframes).select(torch.arange(60))
    sizes: list[float] = []
    for limit in (70, 100):
        found = run(
            start,
            keyframes,
            iterations=40,
            max_gaussians=limit,
            densifier=densifier,
            progress=lambda stage, done, total, **figures: sizes.append(figures.get("gaussians", 0)),
        )
        assert len(found.gaussians) <= limit
        assert max(sizes) <= limit
    free = run(start, keyframes, iterations=40, densifier=densifier)
    assert len(free.gaussians) > len(run(start, keyframes, iterations=40).gaussians)


@pytest.mark.usefixtures("eager")
def test_origins_name_what_each_gaussian_was_made_from() -> None:
    keyframes = drive(4)
    start = seeded(keyframes)
    marked = replace(start, logit_opacities=torch.full_like(start.logit_opacities, 2.0))
    marked.logit_opacities[::4] = -5.2  # dead, so that it moves onto what lives
    found = run(marked, keyframes, iterations=30, densifier=RelocatingDensifier())
    origin = found.origin_of_gaussian
    known = origin != NONE
    assert len(origin) == len(found.gaussians)
    assert int(origin.max()) < len(start) and int(origin.min()) >= NONE
    assert len(origin[known].unique()) < int(known.sum())  # some have a sibling
    away = (found.gaussians.means[known] - marked.means[origin[known]]).norm(dim=1)
    assert float(away.median()) < 0.05  # and all are near where they came from
    assert float(away.quantile(0.99)) < 0.3


def clocked(monkeypatch: pytest.MonkeyPatch, second_per_look: float) -> None:
    """A clock that goes on by itself each time that it is looked at."""
    now = [0.0]

    def look() -> float:
        now[0] += second_per_look
        return now[0]

    monkeypatch.setattr(schedule.time, "monotonic", look)


@pytest.mark.parametrize("seconds", [10.0, 300.0])
def test_a_budget_has_every_part_of_the_schedule_whatever_its_length(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked(monkeypatch, 0.01)
    course = Schedule(0, seconds, 0.0)
    fractions, rounds = [], []
    while not course.is_over:
        fractions.append(course.fraction)
        course.step += 1
        if course.densifies(fractions[-1]):
            rounds.append(fractions[-1])
        assert course.total >= course.step
    assert fractions[0] < 0.01 and fractions[-1] > 0.98
    assert fractions == sorted(fractions)
    assert len(fractions) == pytest.approx(50 * seconds, rel=0.5)
    assert len(rounds) >= 2 and max(rounds) <= DENSIFY_UNTIL
    is_coarse = [f < COARSE_UNTIL for f in fractions]
    assert np.mean(is_coarse) == pytest.approx(COARSE_UNTIL, abs=0.05)


def test_steps_and_seconds_both_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clocked(monkeypatch, 1.0)
    course = Schedule(1000, 20.0, 0.0)
    while not course.is_over:
        course.step += 1
    assert 10 <= course.step <= 20
    assert Schedule(0, 0.0, 0.0).is_over


def test_a_budget_is_used_and_kept() -> None:
    keyframes = drive(4)
    found = run(seeded(keyframes), keyframes, budget=0.5)
    assert found.steps > 5
    assert run(seeded(keyframes), keyframes, budget=60.0, iterations=3).steps == 3
    assert run(seeded(keyframes), keyframes, budget=60.0, max_seconds=1e-6).steps == 0


def test_a_continued_map_begins_at_the_smaller_rates() -> None:
    assert Schedule(10, 0.0, 0.0).fraction == 0.0
    course = Schedule(10, 0.0, 0.0, continues=True)
    assert course.fraction == schedule.CONTINUED_FROM
    course.step = 10
    assert course.fraction == 1.0 and course.is_over


def test_a_coarse_view_is_the_mean_of_its_pixels_and_their_nearest_depth() -> None:
    camera = CAMERA.resized(160, 120)
    keyframe = view(camera=camera)
    assert keyframe.depth is not None
    keyframe.depth[0, :4] = [np.nan, 3.0, np.nan, np.nan]
    keyframe.depth[1, :4] = [1.0, np.nan, np.nan, np.nan]
    coarse = at_resolution(keyframe, 0.0)
    assert coarse.depth is not None
    assert coarse.image.shape == (60, 80, 3) and coarse.depth.shape == (60, 80)
    assert coarse.camera == camera.resized(80, 60)
    assert coarse.depth[0, 0] == 1.0 and np.isnan(coarse.depth[0, 1])
    assert coarse.image[5, 7].tolist() == pytest.approx(keyframe.image[10:12, 14:16].mean(axis=(0, 1)), abs=1.0)
    assert at_resolution(keyframe, COARSE_UNTIL) is keyframe
    assert at_resolution(view(), 0.0).image.shape == (48, 64, 3)


def test_every_keyframe_comes_once_before_any_comes_again() -> None:
    order = Order([2, 3, 5, 7], 0, generator())
    assert sorted(order.next() for _ in range(4)) == sorted(order.next() for _ in range(4)) == [2, 3, 5, 7]


def test_new_keyframes_come_more_often_than_those_known() -> None:
    order = Order(list(range(22)), 20, generator())
    drawn = [order.next() for _ in range(300)]
    assert np.mean([index >= 20 for index in drawn]) == pytest.approx(2 / 3, abs=0.1)
    assert set(drawn) == set(range(22))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 13])
def test_spread_names_all_and_the_ends_of_the_list_early(count: int) -> None:
    found = spread(list(range(count)))
    assert sorted(found) == list(range(count))
    if count >= 5:
        assert max(found[:3]) - min(found[:3]) >= count / 2 - 1


def test_brightness_that_varies_is_noticed() -> None:
    steady = drive(6)
    varied = [
        view(i, x, gain=g) for i, (x, g) in enumerate(zip(np.linspace(-0.3, 0.3, 6), [0.7, 1.1] * 3, strict=True))
    ]
    assert exposure_spread(seeded(steady), steady, RASTERIZER, range(6)) < 0.03
    assert exposure_spread(seeded(steady), varied, RASTERIZER, range(6)) > 0.15
    assert exposure_spread(seeded(steady), steady[:1], RASTERIZER, [0]) == 0.0


def test_a_new_keyframe_refines_the_map_without_starting_over() -> None:
    # The last view looks at what none before has seen.
    keyframes = [view(i, x) for i, x in enumerate([-0.6, -0.5, -0.4, -0.3, -0.2, -0.1, 0.6])]
    known = len(keyframes) - 1
    first = run(seeded(keyframes[:known]), keyframes[:known], iterations=120, holdout_every=0).gaussians
    newest = keyframes[known]
    seen = RASTERIZER.render(first, newest.camera, newest.world_from_camera)
    start = first.joined(seed_gaussians(newest, seen))
    counted: list[int] = []
    found = run(
        start,
        keyframes,
        holdout_every=0,
        num_known=known,
        progress=lambda stage, done, total, **_: counted.append(total * (stage == "optimize")),
    )
    assert found.steps == max(counted) < 120 / 4
    old, before = (psnr_report(g, keyframes, RASTERIZER, range(known))["psnr"] for g in (found.gaussians, start))
    new, unlearnt = (psnr_report(g, keyframes, RASTERIZER, [known])["psnr"] for g in (found.gaussians, start))
    assert old > before - 0.2
    assert new > unlearnt + 1.0
