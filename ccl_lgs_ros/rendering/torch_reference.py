# SPDX-License-Identifier: Apache-2.0
"""Draws Gaussians in plain torch: slow, readable, differentiated by autograd; what the fast ones are held against."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.geometry import invert_rigid
from ccl_lgs_ros.rendering.colors import colors_towards
from ccl_lgs_ros.rendering.inputs import check_inputs, check_labels
from ccl_lgs_ros.rendering.limits import ALPHA_MAX, ALPHA_MIN, BLUR_2D, FOV_MARGIN, NEAR, TILE, TRANSMITTANCE_MIN
from ccl_lgs_ros.structures import Gaussians, Rendering, Votes

Tile = tuple[slice, slice, Tensor]  # rows, columns, Gaussians [n]


class TorchRasterizer:
    """Draws tile by tile, all Gaussians of a tile at once; for tests and comparison, not for mapping."""

    @staticmethod
    def is_available() -> str:
        """Works everywhere: always empty."""
        return ""

    def render(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        features: Tensor | None = None,  # [N, C]
    ) -> Rendering:
        """One view, differentiable in every Gaussian parameter and in the features.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        check_inputs(gaussians, world_from_camera, features)
        ellipses = Ellipses(gaussians, camera, world_from_camera)
        colors = colors_towards(gaussians, world_from_camera)
        parts = [colors, ellipses.depths[:, None], torch.ones_like(ellipses.depths[:, None])]
        channels = torch.cat(parts if features is None else [*parts, features], dim=1)
        tiles = ellipses.tiles()
        shades = channels[torch.cat([members for *_, members in tiles])].split([len(m) for *_, m in tiles])
        drawn = [
            (weights.T @ shade).unflatten(0, (rows.stop - rows.start, -1))
            for (rows, *_), weights, shade in zip(tiles, ellipses.weights(tiles), shades, strict=True)
        ]
        across = -(-camera.width // TILE)
        image = torch.cat([torch.cat(drawn[i : i + across], dim=1) for i in range(0, len(drawn), across)])
        alpha = image[..., 4]
        depth = torch.where(alpha > 0, image[..., 3] / alpha.where(alpha > 0, torch.ones_like(alpha)), 0.0)
        return Rendering(
            color=image[..., :3], depth=depth, alpha=alpha, features=image[..., 5:], is_visible=ellipses.is_visible
        )

    @torch.no_grad()
    def vote(
        self,
        gaussians: Gaussians,
        camera: Camera,
        world_from_camera: NDArray[np.float64],
        labels: Tensor,  # [H, W] int32, -1 none
        *,
        most: int = 0,
    ) -> Votes:
        """The rendering weights of one view summed per Gaussian and label.

        Args:
            most: Gaussians that count in a pixel, as in Rasterizer.

        Raises:
            ValueError: naming the field that has the wrong shape or a number that is not finite.
        """
        check_inputs(gaussians, world_from_camera, None)
        check_labels(labels, camera)
        ellipses = Ellipses(gaussians, camera, world_from_camera)
        labels = labels.to(gaussians.means.device)
        visibility = torch.zeros(len(gaussians)).to(gaussians.means.device, torch.float64)
        keys, values = [visibility.new_zeros(0, dtype=torch.int64)], [visibility.new_zeros(0)]
        num_labels = max(int(labels.max()) + 1, 1)
        tiles = ellipses.tiles()
        for (rows, columns, members), weights in zip(tiles, ellipses.weights(tiles), strict=True):
            weights = _heaviest(weights, most) if 0 < most < len(members) else weights
            visibility.index_add_(0, members, weights.sum(dim=1).double())
            label = labels[rows, columns].reshape(-1).long()
            voted = (weights > 0) & (label >= 0)
            keys.append((members[:, None] * num_labels + label)[voted])
            values.append(weights[voted].double())
        key, where = torch.cat(keys).unique(return_inverse=True)
        weight = visibility.new_zeros(len(key)).index_add_(0, where, torch.cat(values))
        found = {"gaussian": key // num_labels, "label": key % num_labels}
        found |= {"weight": weight.float(), "visibility": visibility.float()}
        return Votes(**{name: column.cpu() for name, column in found.items()})


class Ellipses:
    """Gaussians projected into one camera."""

    def __init__(self, gaussians: Gaussians, camera: Camera, world_from_camera: NDArray[np.float64]) -> None:
        view = torch.as_tensor(invert_rigid(np.asarray(world_from_camera))).to(gaussians.means)
        points = gaussians.means @ view[:3, :3].T + view[:3, 3]
        self.camera = camera
        self.depths = points[:, 2]
        self.opacities = gaussians.opacities
        in_front = self.depths >= NEAR
        points = torch.where(in_front[:, None], points, points.new_tensor([0.0, 0.0, 1.0]))
        slopes = points[:, :2] / points[:, 2:]
        focal, center = points.new_tensor([camera.fx, camera.fy]), points.new_tensor([camera.cx, camera.cy])
        self.centers = slopes * focal + center
        covariance = _covariance(gaussians, view[:3, :3], points[:, 2], slopes, camera)
        self.conics = torch.linalg.inv(covariance)
        reach = torch.sqrt(2.0 * torch.log((self.opacities / ALPHA_MIN).clamp(min=1.0)))
        half = reach[:, None] * covariance.diagonal(dim1=1, dim2=2).sqrt()
        self.low, self.high = (self.centers - half).detach(), (self.centers + half).detach()
        reaches = ((self.high > 0) & (self.low < points.new_tensor([camera.width, camera.height]))).all(dim=1)
        self.is_visible = in_front & (self.opacities >= ALPHA_MIN) & reaches

    def tiles(self) -> list[Tile]:
        """The rows and columns of each tile with the Gaussians that may touch it, front to back."""
        drawn = self.is_visible.nonzero()[:, 0]
        order = drawn[self.depths[drawn].argsort(stable=True)]
        (left, top), (right, bottom) = self.low[order].T, self.high[order].T
        found = []
        for y in range(0, self.camera.height, TILE):
            in_rows = (bottom > y) & (top < y + TILE)
            for x in range(0, self.camera.width, TILE):
                members = order[in_rows & (right > x) & (left < x + TILE)]
                rows, columns = slice(y, min(y + TILE, self.camera.height)), slice(x, min(x + TILE, self.camera.width))
                found.append((rows, columns, members))
        return found

    def weights(self, tiles: list[Tile]) -> Iterator[Tensor]:
        """For each tile the rendering weights [n, pixels] of its Gaussians."""
        shapes = torch.cat([self.centers, self.conics.flatten(1), self.opacities[:, None]], dim=1)
        gathered = shapes[torch.cat([members for *_, members in tiles])].split([len(m) for *_, m in tiles])
        for (rows, columns, _), shape in zip(tiles, gathered, strict=True):
            x, y, xx, xy, _, yy, opacity = shape[:, :, None].unbind(dim=1)  # [n, 1] each
            pixel_y = torch.arange(rows.start, rows.stop).to(x).repeat_interleave(columns.stop - columns.start) + 0.5
            pixel_x = torch.arange(columns.start, columns.stop).to(x).repeat(rows.stop - rows.start) + 0.5
            dx, dy = pixel_x - x, pixel_y - y
            power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
            alpha = (opacity * power.clamp(max=0.0).exp()).clamp(max=ALPHA_MAX)
            alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0.0)
            behind = (1.0 - alpha).cumprod(dim=0)
            front = torch.cat([torch.ones_like(behind[:1]), behind[:-1]])
            yield torch.where(behind > TRANSMITTANCE_MIN, alpha * front, 0.0)


def _heaviest(weights: Tensor, most: int) -> Tensor:
    """The weights [n, pixels] that are as heavy as the pixel's heaviest but most - 1; 0 for the others."""
    return torch.where(weights >= weights.topk(most, dim=0).values[-1], weights, 0.0)


def _covariance(gaussians: Gaussians, rotation: Tensor, z: Tensor, slopes: Tensor, camera: Camera) -> Tensor:
    """The covariance [N, 2, 2] in pixels, by projection linearised at each centre, blurred."""
    axes = rotation @ _rotations(gaussians.quats) * gaussians.scales[:, None]
    margin_x, margin_y = FOV_MARGIN * 0.5 * camera.width / camera.fx, FOV_MARGIN * 0.5 * camera.height / camera.fy
    u = slopes[:, 0].clamp(-camera.cx / camera.fx - margin_x, (camera.width - camera.cx) / camera.fx + margin_x)
    v = slopes[:, 1].clamp(-camera.cy / camera.fy - margin_y, (camera.height - camera.cy) / camera.fy + margin_y)
    flat = torch.stack(
        [
            camera.fx / z[:, None] * (axes[:, 0] - u[:, None] * axes[:, 2]),
            camera.fy / z[:, None] * (axes[:, 1] - v[:, None] * axes[:, 2]),
        ],
        dim=1,
    )
    return flat @ flat.transpose(1, 2) + BLUR_2D * torch.eye(2).to(flat)


def _rotations(quats: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] of quaternions wxyz."""
    w, x, y, z = normalize(quats, dim=1).unbind(dim=1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)
