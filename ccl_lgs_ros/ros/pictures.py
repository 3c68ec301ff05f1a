# SPDX-License-Identifier: Apache-2.0
"""What the map and its answers look like from a camera, as images."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.answer_views import MIN_SHOWN_ALPHA
from ccl_lgs_ros.answers import Answer
from ccl_lgs_ros.asking import query_map
from ccl_lgs_ros.boxes_in_pictures import with_box
from ccl_lgs_ros.camera import Camera
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.field_view import seen_by
from ccl_lgs_ros.pictures import rendered_color, with_mask
from ccl_lgs_ros.protocols import Encoder, Rasterizer
from ccl_lgs_ros.ros.conversions import header_message, image_message
from ccl_lgs_ros.ros.map_reader import MapReader
from ccl_lgs_ros.ros.query_options import QueryNodeOptions
from ccl_lgs_ros.ros.questions import Lookup
from ccl_lgs_ros.ros.requests import checked_camera, checked_frame, checked_pose, checked_prompt
from ccl_lgs_ros.srv import RenderView
from ccl_lgs_ros.structures import SemanticMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """From where a picture is taken."""

    camera: Camera
    world_from_camera: NDArray[np.float64]  # [4, 4]
    frame_id: str  # for the headers of its images


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sight:
    """An answer to be seen from somewhere."""

    semantic_map: SemanticMap
    answer: Answer
    view: View
    way: str  # how: the option query.view


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedPicture:
    """A request of render_view understood: all that a thread needs to draw it while the node answers others."""

    request: RenderView.Request
    semantic_map: SemanticMap
    view: View
    rasterizer: Rasterizer
    encoder: Encoder | None = None
    sight: Sight | None = None  # the answer, where it is to be drawn


def asked_picture(
    reader: MapReader, config: MapConfig, options: QueryNodeOptions, request: RenderView.Request, lookup: Lookup
) -> AskedPicture:
    """What a request asks for; raises CclLgsError saying what is wrong with it or the map."""
    semantic_map = reader.map
    prompt, view = checked_prompt(request.prompt, options), _view(reader, options, request, lookup)
    asked = AskedPicture(request=request, semantic_map=semantic_map, view=view, rasterizer=reader.rasterizer)
    if not (request.relevancy or request.mask):
        return asked
    found = query_map(semantic_map, prompt, config, reader.encoder, index=reader.index)
    return replace(
        asked,
        encoder=reader.encoder,
        sight=Sight(semantic_map=semantic_map, answer=found, view=view, way=config.query.view),
    )


def draw(asked: AskedPicture, stamp_ns: int) -> RenderView.Response:
    """The pictures that were asked for, under this time."""
    began = time.monotonic()
    request, semantic_map, camera = asked.request, asked.semantic_map, asked.view.camera
    header = header_message(stamp_ns, asked.view.frame_id)
    response = RenderView.Response(success=True, map_version=semantic_map.version)
    if request.rgb or request.depth:
        with torch.no_grad():
            seen = asked.rasterizer.render(semantic_map.gaussians, camera, asked.view.world_from_camera)
        if request.rgb:
            response.rgb = [image_message(rendered_color(seen.color.cpu().numpy()), header)]
        if request.depth:
            depth = torch.where(seen.alpha > MIN_SHOWN_ALPHA, seen.depth, torch.nan)
            response.depth = [image_message(depth.float().cpu().numpy(), header)]
    if asked.sight is not None and asked.encoder is not None:
        found, pose = asked.sight.answer, asked.view.world_from_camera
        mask, relevancy = seen_by(asked.sight.way, semantic_map, found, asked.encoder, asked.rasterizer, camera, pose)
        response.unknown_words = list(found.prompt.unknown_words)
        if request.relevancy:
            response.relevancy = [image_message(relevancy.float().cpu().numpy(), header)]
        if request.mask:
            response.mask = [image_message((mask.cpu().numpy() * 255).astype(np.uint8), header)]
    response.message = f"version {semantic_map.version} of the map, {camera.width}x{camera.height} pixels"
    response.render_time = time.monotonic() - began
    return response


def answer_pictures(
    sight: Sight, encoder: Encoder, rasterizer: Rasterizer
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The mask [H, W], 0 or 255, of an answer, and the map [H, W, 3] with the mask and the boxes drawn over it."""
    view, semantic_map = sight.view, sight.semantic_map
    seen_from = view.camera, view.world_from_camera
    mask, _ = seen_by(sight.way, semantic_map, sight.answer, encoder, rasterizer, *seen_from)
    is_shown = mask.cpu().numpy()
    overlay = with_mask(map_picture(semantic_map, rasterizer, view), is_shown)
    for instance in sight.answer.instances:
        label = f"{instance.score:.2f}"
        overlay = with_box(overlay, instance.box, view.camera, view.world_from_camera, label)
    return (is_shown * 255).astype(np.uint8), overlay


def map_picture(semantic_map: SemanticMap, rasterizer: Rasterizer, view: View) -> NDArray[np.uint8]:
    """The colours [H, W, 3] of the map."""
    with torch.no_grad():
        seen = rasterizer.render(semantic_map.gaussians, view.camera, view.world_from_camera)
    return rendered_color(seen.color.cpu().numpy())


def newest_view(reader: MapReader, max_pixels: int) -> View:
    """What the newest keyframe saw, in no more pixels than may be drawn."""
    camera, world_from_camera = reader.last_view()
    view = View(camera=camera, world_from_camera=world_from_camera, frame_id=reader.map.map_frame)
    return shrunk(view, max_pixels)


def shrunk(view: View, max_pixels: int) -> View:
    """The same view in no more pixels than these."""
    camera = view.camera
    factor = (max_pixels / (camera.width * camera.height)) ** 0.5
    if factor >= 1.0:
        return view
    return replace(view, camera=camera.resized(*(max(int(n * factor), 1) for n in (camera.width, camera.height))))


def _view(reader: MapReader, options: QueryNodeOptions, request: RenderView.Request, lookup: Lookup) -> View:
    """From where to draw: as the newest keyframe did, where the request leaves camera or pose open."""
    frame, map_frame = checked_frame(request.camera_pose.header.frame_id, "camera_pose.header"), reader.map.map_frame
    info = request.camera_info
    camera = checked_camera(info, options) if info.width or info.height else None
    pose = checked_pose(request.camera_pose.pose, "camera_pose.pose") if frame else None
    if camera is None or pose is None:
        newest = newest_view(reader, options.max_pixels)
        camera = newest.camera if camera is None else camera
        pose = newest.world_from_camera if pose is None else pose
    if frame and frame != map_frame:
        pose = lookup(map_frame, frame) @ pose
    return View(camera=camera, world_from_camera=pose, frame_id=frame or map_frame)
