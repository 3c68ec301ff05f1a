# SPDX-License-Identifier: Apache-2.0
"""Rasterizers draw what the definition says, agree with the reference, and so do their gradients."""

import numpy as np
import pytest
import torch
from splat_scene import POSE, identity, make_camera, make_gaussians, one_gaussian, trainable

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.errors import MissingDependencyError
from ccl_lgs_ros.protocols import Rasterizer
from ccl_lgs_ros.registry import names, part_class
from ccl_lgs_ros.rendering.drawing import View, as_arrays, prepare
from ccl_lgs_ros.rendering.lanes import WIDTH
from ccl_lgs_ros.rendering.limits import ALPHA_MIN
from ccl_lgs_ros.rendering.numba_cpu import NumbaRasterizer
from ccl_lgs_ros.rendering.tiles import HEIGHT
from ccl_lgs_ros.rendering.torch_reference import TorchRasterizer
from ccl_lgs_ros.rendering.workers import Crew
from ccl_lgs_ros.structures import Gaussians, Rendering

OUTPUTS = ("color", "depth", "alpha", "features")


@pytest.fixture(params=["numba_cpu", "torch_reference"])
def rasterizer(request: pytest.FixtureRequest) -> Rasterizer:
    return part_class("rasterizer", request.param)()


def features_of(gaussians: Gaussians, count: int) -> torch.Tensor:
    return torch.randn(len(gaussians), count, generator=torch.Generator().manual_seed(7))


def double(gaussians: Gaussians) -> Gaussians:
    return Gaussians(**{name: tensor.double() for name, tensor in gaussians.tensors().items()})


def backward(view: Rendering, outputs: tuple[str, ...] = OUTPUTS) -> None:
    """Send a fixed random gradient into some outputs."""
    drawn = [getattr(view, name) for name in outputs]
    generator = torch.Generator().manual_seed(3)
    gradients = [torch.randn(image.shape, generator=generator).to(image.dtype) for image in drawn]
    torch.autograd.backward(drawn, gradients)


def relative_error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 3, 8])
def test_picture_agrees_with_reference(sh_degree: int, count: int) -> None:
    gaussians, camera = make_gaussians(sh_degree=sh_degree), make_camera()
    features = features_of(gaussians, count)
    fast = NumbaRasterizer().render(gaussians, camera, POSE, features)
    plain = TorchRasterizer().render(double(gaussians), camera, POSE, features.double())
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(fast, name).double(), getattr(plain, name), rtol=1e-4, atol=2e-5)
    assert torch.equal(fast.is_visible, plain.is_visible)
    assert 0 < fast.is_visible.sum() < len(gaussians)


@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [0.03, 0.15, 0.6])
def test_gradients_agree_with_reference(sh_degree: int, scale: float) -> None:
    gaussians, camera = make_gaussians(sh_degree=sh_degree, scale=scale), make_camera()
    fast, plain = trainable(gaussians), trainable(double(gaussians))
    fast_features = features_of(gaussians, 5).requires_grad_()
    plain_features = features_of(gaussians, 5).double().requires_grad_()
    backward(NumbaRasterizer().render(fast, camera, POSE, fast_features))
    backward(TorchRasterizer().render(plain, camera, POSE, plain_features))
    for name, tensor in fast.tensors().items():
        assert relative_error(tensor.grad, plain.tensors()[name].grad) < 1e-4, name
    assert relative_error(fast_features.grad, plain_features.grad) < 1e-4


@pytest.mark.parametrize("count", [0, 3, 9, 13, 20])
def test_gradients_agree_with_reference_whatever_the_number_of_channels(count: int) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    fast, plain = trainable(gaussians), trainable(double(gaussians))
    fast_features, plain_features = features_of(gaussians, count), features_of(gaussians, count).double()
    backward(NumbaRasterizer().render(fast, camera, POSE, fast_features.requires_grad_()))
    backward(TorchRasterizer().render(plain, camera, POSE, plain_features.requires_grad_()))
    for name, tensor in fast.tensors().items():
        assert relative_error(tensor.grad, plain.tensors()[name].grad) < 1e-4, name
    if count:
        assert relative_error(fast_features.grad, plain_features.grad) < 1e-4


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 31), (8, 32), (9, 33), (24, 64)])
def test_a_picture_of_any_size_agrees_with_reference(width: int, height: int) -> None:
    gaussians, camera = make_gaussians(scale=0.4), make_camera(width, height)
    fast, plain = trainable(gaussians), trainable(double(gaussians))
    features = features_of(gaussians, 6)
    drawn = NumbaRasterizer().render(fast, camera, POSE, features)
    wanted = TorchRasterizer().render(plain, camera, POSE, features.double())
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(drawn, name).double(), getattr(wanted, name), rtol=1e-4, atol=2e-5)
    backward(drawn)
    backward(wanted)
    assert relative_error(fast.means.grad, plain.means.grad) < 1e-4


def test_lists_of_tiles_hold_every_pixel_that_a_splat_reaches() -> None:
    gaussians, camera = make_gaussians(scale=0.3), make_camera()
    arrays = as_arrays(tuple(gaussians.tensors().values()))
    found = prepare(Crew(), arrays, np.zeros((len(gaussians), 0), np.float32), View.of(camera, POSE))
    listed = np.zeros((len(found.order), camera.height, camera.width), bool)
    columns = -(-camera.width // WIDTH)
    for tile in range(len(found.tile_start) - 1):
        top, left = tile // columns * HEIGHT, tile % columns * WIDTH
        for place in range(found.tile_start[tile], found.tile_start[tile + 1]):
            for row in range(HEIGHT):
                if found.rows[place] >> row & 1:
                    listed[found.members[place], top + row, left : left + WIDTH] = True
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    px, py, xx, xy, yy, most = (found.splats[:, k, None, None].astype(np.float64) for k in range(6))
    power = most + xx * (x - px) ** 2 + xy * (x - px) * (y - py) + yy * (y - py) ** 2
    reached = power >= np.log2(ALPHA_MIN)
    assert reached.sum() > 1000 and not (reached & ~listed).any()
    # Exact to the row: a row that is listed is reached in one of its eight pixels, but for those cut by the image.
    whole = camera.width // WIDTH * WIDTH
    rows = [array[..., :whole].reshape(*array.shape[:2], -1, WIDTH).any(axis=-1) for array in (reached, listed)]
    assert rows[0].sum() > 0.9 * rows[1].sum()


def test_what_is_out_of_view_changes_nothing() -> None:
    gaussians, camera = make_gaussians(), make_camera()
    beside = make_gaussians(300, seed=1)
    beside.means[:, :2] += 200.0
    features = features_of(gaussians, 3)
    alone = NumbaRasterizer().render(gaussians, camera, POSE, features)
    padding = torch.ones(len(beside), 3)
    both = NumbaRasterizer().render(beside.joined(gaussians), camera, POSE, torch.cat([padding, features]))
    assert not both.is_visible[:300].any()
    assert all(torch.equal(getattr(alone, name), getattr(both, name)) for name in OUTPUTS)


@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_of_each_output_alone_agrees_with_reference(output: str) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    fast, plain = trainable(gaussians), trainable(double(gaussians))
    features = features_of(gaussians, 5)
    backward(NumbaRasterizer().render(fast, camera, POSE, features), (output,))
    backward(TorchRasterizer().render(plain, camera, POSE, features.double()), (output,))
    for name in ("means", "quats", "log_scales", "logit_opacities"):
        assert relative_error(fast.tensors()[name].grad, plain.tensors()[name].grad) < 1e-4, name


def test_gradient_is_the_slope_of_the_picture() -> None:
    gaussians, camera = double(make_gaussians(40, scale=0.3)), make_camera()
    generator = torch.Generator().manual_seed(5)
    along = {name: torch.randn(t.shape, generator=generator).double() for name, t in gaussians.tensors().items()}
    weight = torch.rand(camera.height, camera.width, 3, generator=generator)

    def loss(step: float) -> torch.Tensor:
        moved = Gaussians(**{name: t + step * along[name] for name, t in gaussians.tensors().items()})
        return (TorchRasterizer().render(moved, camera, POSE).color * weight).sum()

    slope = float(loss(1e-6) - loss(-1e-6)) / 2e-6
    fast = trainable(Gaussians(**{name: tensor.float() for name, tensor in gaussians.tensors().items()}))
    (NumbaRasterizer().render(fast, camera, POSE).color * weight).sum().backward()
    predicted = sum(float((t.grad * along[name]).sum()) for name, t in fast.tensors().items())
    assert predicted == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("wanted", ["means", "quats", "log_scales", "logit_opacities", "sh"])
def test_only_what_asks_gets_the_gradient_it_would_get_anyway(wanted: str) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    everything, one = trainable(gaussians), trainable(gaussians, wanted)
    features = features_of(gaussians, 3)
    for drawn in (everything, one):
        backward(NumbaRasterizer().render(drawn, camera, POSE, features))
    for name, tensor in one.tensors().items():
        assert (tensor.grad is not None) == (name == wanted)
    assert torch.equal(one.tensors()[wanted].grad, everything.tensors()[wanted].grad)


def test_features_alone_get_the_gradient_they_would_get_anyway() -> None:
    gaussians, camera = make_gaussians(), make_camera()
    both, alone = features_of(gaussians, 6).requires_grad_(), features_of(gaussians, 6).requires_grad_()
    backward(NumbaRasterizer().render(trainable(gaussians), camera, POSE, both))
    backward(NumbaRasterizer().render(gaussians, camera, POSE, alone))
    assert torch.equal(both.grad, alone.grad)


def test_same_input_gives_the_same_bits() -> None:
    gaussians, camera = make_gaussians(2000), make_camera(160, 120)
    rasterizer, results = NumbaRasterizer(), []
    for _ in range(3):
        drawn = trainable(gaussians)
        view = rasterizer.render(drawn, camera, POSE)
        backward(view)
        results.append([view.color, *(tensor.grad for tensor in drawn.tensors().values())])
    for again in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], again, strict=True))


def test_order_of_gaussians_changes_nothing(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(), make_camera()
    order = torch.randperm(len(gaussians), generator=torch.Generator().manual_seed(1))
    before = rasterizer.render(gaussians, camera, POSE)
    after = rasterizer.render(gaussians.select(order), camera, POSE)
    torch.testing.assert_close(before.color, after.color)
    assert torch.equal(before.is_visible[order], after.is_visible)


def test_a_feature_of_one_everywhere_is_drawn_as_alpha(rasterizer: Rasterizer) -> None:
    gaussians = make_gaussians()
    view = rasterizer.render(gaussians, make_camera(), POSE, torch.ones(len(gaussians), 2))
    torch.testing.assert_close(view.features[..., 1], view.alpha, rtol=1e-5, atol=1e-5)


def test_a_ball_is_drawn_where_the_camera_projects_its_centre(rasterizer: Rasterizer) -> None:
    camera = Camera(width=64, height=48, fx=50.0, fy=50.0, cx=20.5, cy=30.5)
    view = rasterizer.render(one_gaussian(2.0, scale=0.04, opacity=0.9), camera, identity())
    peak = divmod(int(view.alpha.argmax()), 64)
    assert peak == (30, 20)  # its pixel centre, (20.5, 30.5), is the principal point
    assert float(view.alpha[peak]) == pytest.approx(0.9, abs=1e-5)
    assert float(view.depth[peak]) == pytest.approx(2.0, abs=1e-5)
    assert float(view.color[peak][0]) == pytest.approx(0.9 * 0.5, abs=1e-5)


def test_the_nearer_of_two_hides_the_farther(rasterizer: Rasterizer) -> None:
    camera = Camera(width=17, height=17, fx=20.0, fy=20.0, cx=8.5, cy=8.5)
    near, far = one_gaussian(1.0, scale=0.2, opacity=0.8), one_gaussian(2.0, scale=0.4, opacity=0.5)
    features = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    view = rasterizer.render(far.joined(near), camera, identity(), features)
    torch.testing.assert_close(view.features[8, 8], torch.tensor([0.8, 0.2 * 0.5]))
    assert float(view.depth[8, 8]) == pytest.approx((0.8 * 1.0 + 0.1 * 2.0) / 0.9)


def test_what_would_leave_no_light_is_not_drawn(rasterizer: Rasterizer) -> None:
    camera = Camera(width=3, height=3, fx=3.0, fy=3.0, cx=1.5, cy=1.5)
    stack = one_gaussian(1.0, scale=10.0, opacity=0.98)
    for depth in (2.0, 3.0, 4.0):
        stack = stack.joined(one_gaussian(depth, scale=10.0 * depth, opacity=0.98))
    view = rasterizer.render(stack, camera, identity(), torch.eye(4))
    # Transmittance falls 1, 0.02, 0.0004, and the third would bring it to 0.000008.
    torch.testing.assert_close(view.features[1, 1], torch.tensor([0.98, 0.0196, 0.0, 0.0]), rtol=1e-4, atol=1e-6)


def test_nothing_is_drawn_of_nothing(rasterizer: Rasterizer) -> None:
    empty = trainable(Gaussians.empty())
    view = rasterizer.render(empty, make_camera(), identity(), torch.zeros(0, 3))
    assert view.color.shape == (45, 70, 3) and view.features.shape == (45, 70, 3) and view.is_visible.shape == (0,)
    assert not view.color.any() and not view.depth.any() and not view.alpha.any()
    view.color.sum().backward()
    assert empty.means.grad is None or empty.means.grad.shape == (0, 3)


def test_what_is_behind_the_camera_is_not_drawn_and_gets_no_gradient(rasterizer: Rasterizer) -> None:
    behind = trainable(one_gaussian(-1.0, scale=0.5))
    view = rasterizer.render(behind, make_camera(), identity())
    assert not view.alpha.any() and not view.is_visible.any()
    view.color.sum().backward()
    assert all(t.grad is None or (t.grad.isfinite().all() and not t.grad.any()) for t in behind.tensors().values())


def test_extreme_gaussians_give_finite_pictures_and_gradients() -> None:
    gaussians = make_gaussians(60)
    gaussians.log_scales[:20] = 4.0
    gaussians.log_scales[20:30, 0] = -12.0
    gaussians.logit_opacities[30:40] = 80.0
    gaussians.logit_opacities[40:50] = -80.0
    gaussians.quats[50:] = 0.0
    drawn = trainable(gaussians)
    view = NumbaRasterizer().render(drawn, make_camera(), POSE)
    backward(view, OUTPUTS[:3])
    assert all(getattr(view, name).isfinite().all() for name in OUTPUTS)
    assert all(tensor.grad.isfinite().all() for tensor in drawn.tensors().values())


@pytest.mark.parametrize("field", ["means", "quats", "log_scales", "logit_opacities", "sh"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_an_error_naming_the_field(rasterizer: Rasterizer, field: str, number: float) -> None:
    gaussians = make_gaussians(10)
    gaussians.tensors()[field].view(-1)[4] = number
    with pytest.raises(ValueError, match=rf"^{field}: expected finite numbers, got 1 of"):
        rasterizer.render(gaussians, make_camera(), POSE)


def test_inputs_that_do_not_fit_are_errors_naming_the_field(rasterizer: Rasterizer) -> None:
    gaussians, camera = make_gaussians(10), make_camera()
    with pytest.raises(ValueError, match="features: expected"):
        rasterizer.render(gaussians, camera, POSE, torch.zeros(9, 2))
    with pytest.raises(ValueError, match="features: expected finite"):
        rasterizer.render(gaussians, camera, POSE, torch.full((10, 2), float("nan")))
    with pytest.raises(ValueError, match="world_from_camera"):
        rasterizer.render(gaussians, camera, np.full((4, 4), np.nan))


def test_many_channels_are_drawn_as_few_at_a_time_are() -> None:
    gaussians, camera = make_gaussians(), make_camera()
    many = features_of(gaussians, 70).requires_grad_()
    view = NumbaRasterizer().render(gaussians, camera, POSE, many)
    backward(view, ("features",))
    few = many.detach()[:, 64:].clone().requires_grad_()
    part = NumbaRasterizer().render(gaussians, camera, POSE, few)
    torch.testing.assert_close(view.features[..., 64:], part.features)
    assert many.grad.isfinite().all() and many.grad[:, 69].any()


def test_every_rasterizer_says_in_a_sentence_why_it_is_not_there() -> None:
    for name in names("rasterizer"):
        assert isinstance(part_class("rasterizer", name).is_available(), str)
    assert NumbaRasterizer.is_available() == "" and TorchRasterizer.is_available() == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gsplat_without_a_gpu_is_an_error_naming_what_to_use() -> None:
    gsplat = part_class("rasterizer", "gsplat")
    assert "numba_cpu" in gsplat.is_available()
    with pytest.raises(MissingDependencyError, match="numba_cpu"):
        gsplat()
