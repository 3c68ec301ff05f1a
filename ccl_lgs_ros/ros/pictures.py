# SPDX-License-Identifier: Apache-2.0
"""A request of render_view drawn."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import MIN_SHOWN_ALPHA, answer_view
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.ros.conversions import camera_of, header_message, image_message, transform_of
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.questions import BadRequestError
from ccl_lgs_ros.srv import RenderView

MAX_SIDE = 4096  # pixels


def draw(
    reader: MapReader,
    config: MapConfig,
    request: RenderView.Request,
    lookup: Callable[[str, str], NDArray[np.float64]],
    stamp_ns: int,
) -> RenderView.Response:
    """Draw what a request asks for.

    Args:
        lookup: target_from_source [4, 4] of two frames, now.
        stamp_ns: time of the pictures.

    Raises:
        CclLgsError: saying what is wrong with the request or the map.
    """
    began = time.monotonic()
    semantic_map = reader.map
    camera, world_from_camera = _view(reader, request, lookup)
    header = header_message(stamp_ns, request.camera_pose.header.frame_id or semantic_map.map_frame)
    response = RenderView.Response(success=True, map_version=semantic_map.version)
    if request.rgb or request.depth:
        with torch.no_grad():
            view = reader.rasterizer.render(semantic_map.gaussians, camera, world_from_camera)
        if request.rgb:
            rgb = (view.color.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
            response.rgb = [image_message(rgb.cpu().numpy(), header)]
        if request.depth:
            depth = torch.where(view.alpha > MIN_SHOWN_ALPHA, view.depth, torch.nan)
            response.depth = [image_message(depth.float().cpu().numpy(), header)]
    if request.relevancy or request.mask:
        found = query_map(semantic_map, request.prompt, config, reader.encoder, index=reader.index)
        mask, relevancy = answer_view(semantic_map, found, reader.encoder, reader.rasterizer, camera, world_from_camera)
        response.unknown_words = list(found.prompt.unknown_words)
        if request.relevancy:
            response.relevancy = [image_message(relevancy.float().cpu().numpy(), header)]
        if request.mask:
            response.mask = [image_message((mask.cpu().numpy() * 255).astype(np.uint8), header)]
    response.message = f"version {semantic_map.version} of the map, {camera.width}x{camera.height} pixels"
    response.render_time = time.monotonic() - began
    return response


def _view(
    reader: MapReader, request: RenderView.Request, lookup: Callable[[str, str], NDArray[np.float64]]
) -> tuple[Camera, NDArray[np.float64]]:
    """The camera and its pose [4, 4], from the newest keyframe where the request leaves them open."""
    frame, map_frame = request.camera_pose.header.frame_id.lstrip("/"), reader.map.map_frame
    info = request.camera_info
    if max(info.width, info.height) > MAX_SIDE:
        raise BadRequestError(f"camera_info asks for {info.width}x{info.height} pixels; at most {MAX_SIDE} a side")
    last = reader.last_view() if not frame or not info.width else None
    try:
        camera = camera_of(info) if info.width else last[0]  # type: ignore[index]
        pose = transform_of(request.camera_pose.pose) if frame else last[1]  # type: ignore[index]
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    if frame and frame != map_frame:
        pose = lookup(map_frame, frame) @ pose
    return camera, pose
