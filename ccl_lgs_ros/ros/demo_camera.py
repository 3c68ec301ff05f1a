# SPDX-License-Identifier: Apache-2.0
"""A camera that drives through a synthetic room, and then asks the map of it for things whose place is known.

Publishes `image`, `depth`, `camera_info`, /tf and /tf_static; calls `pause_capture` of the keyframe
node, the action `build_map` and the service `semantic_query`. Ends with 0 where every answer was right, else with 1.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform, TransformStamped
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.client import Client
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

from ccl_lgs_ros.action import BuildMap
from ccl_lgs_ros.errors import MapError
from ccl_lgs_ros.ros.conversions import camera_info_message, header_message, image_message, pose_message, vector_message
from ccl_lgs_ros.ros.demo_options import DemoOptions
from ccl_lgs_ros.ros.parameters import declare_options, warn_of_unknown
from ccl_lgs_ros.ros.qos import RELIABLE, STATIC
from ccl_lgs_ros.ros.script import ScriptNode
from ccl_lgs_ros.ros.spinning import run_node
from ccl_lgs_ros.scenes import OPTICAL_FRAME
from ccl_lgs_ros.srv import SemanticQuery
from ccl_lgs_ros.synthetic.scene import RoomFrame, Scene, make_room_scene

MAP, BASE = "map", "base_link"
HEIGHT_SHARE = 0.75  # of the width
MAX_ERROR = 0.5  # metres between an answer and the true centre of the thing


class DemoCamera(ScriptNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("demo_camera")
        self.options = declare_options(self, DemoOptions())
        warn_of_unknown(self, self._parameters)
        self._image = self.create_publisher(Image, "image", RELIABLE)
        self._depth = self.create_publisher(Image, "depth", RELIABLE)
        self._info = self.create_publisher(CameraInfo, "camera_info", RELIABLE)
        self._tf = self.create_publisher(TFMessage, "/tf", RELIABLE)
        self._static_tf = self.create_publisher(TFMessage, "/tf_static", STATIC)
        self._pauser = self.create_client(SetBool, "keyframe_node/pause_capture")
        self._builder = ActionClient(self, BuildMap, "build_map")
        self._asker = self.create_client(SemanticQuery, "semantic_query")
        self.begin()

    def work(self) -> int:
        """Drive, then ask."""
        o, log = self.options, self.get_logger()
        scene = make_room_scene(o.seed, width=o.image_width, height=round(HEIGHT_SHARE * o.image_width))
        log.info(f"a room with {', '.join(scene.room.categories)}")
        self._drive(scene)
        if not o.ask:
            return 0
        self._answer(self._pauser, SetBool.Request(data=True))
        self._build()
        present = [scene.room.categories[0], scene.room.categories[-1]]
        are_right = [self._ask(scene, prompt) for prompt in (*present, scene.absent_prompts()[0])]
        log.info(f"{sum(are_right)} of {len(are_right)} answers are right")
        return 0 if all(are_right) else 1

    def _drive(self, scene: Scene) -> None:
        mount = scene.drive.mount
        self._static_tf.publish(TFMessage(transforms=[self._transform(BASE, OPTICAL_FRAME, mount.base_from_camera)]))
        for publisher, what in ((self._image, "images"), (self._depth, "depth images"), (self._tf, "tf")):
            self.until(publisher.get_subscription_count, f"somebody who listens to the {what}")
        self.get_logger().info(f"driving through the room: {self.options.num_frames} images")
        for frame in scene.frames(self.options.num_frames):
            sent_at = time.monotonic()
            self._send(scene, frame)
            self.sleep(1.0 / self.options.max_rate - (time.monotonic() - sent_at))

    def _send(self, scene: Scene, frame: RoomFrame) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        header = header_message(stamp_ns, OPTICAL_FRAME)
        place = self._transform(MAP, BASE, scene.drive.world_from_base(frame.seconds), stamp_ns)
        self._tf.publish(TFMessage(transforms=[place]))
        self._info.publish(camera_info_message(frame.camera, header))
        self._depth.publish(image_message(frame.depth, header))
        self._image.publish(image_message(frame.image, header))

    def _transform(
        self, parent: str, child: str, parent_from_child: NDArray[np.floating], stamp_ns: int = 0
    ) -> TransformStamped:
        pose = pose_message(parent_from_child)
        return TransformStamped(
            header=header_message(stamp_ns, parent),
            child_frame_id=child,
            transform=Transform(
                translation=vector_message(parent_from_child[:3, 3]),
                rotation=pose.orientation,
            ),
        )

    def _build(self) -> None:
        """Bring the map up to date with everything that was seen, and refine it."""
        log, stages = self.get_logger(), set[str]()

        def tell(message: Any) -> None:
            feedback = message.feedback
            if feedback.stage not in stages:
                stages.add(feedback.stage)
                log.info(f"build_map: {feedback.stage}, {feedback.progress:.0%} done")

        self.until(self._builder.server_is_ready, "the action build_map")
        goal = BuildMap.Goal(refine=True, iterations=self.options.iterations)
        sent = self._builder.send_goal_async(goal, feedback_callback=tell)
        handle = self.until(lambda: sent.done() and sent.result(), "an answer of build_map")
        if not handle.accepted:
            raise MapError("build_map refuses the goal; the log of training_node says why")
        ended = handle.get_result_async()
        result = self.until(lambda: ended.done() and ended.result(), "the end of build_map").result
        if not result.success:
            raise MapError(f"build_map: {result.message}")
        log.info(f"build_map: {result.message}, in {result.duration:.0f} s")

    def _ask(self, scene: Scene, prompt: str) -> bool:
        """Ask, tell the answer beside the truth; whether it is right."""
        response = self._answer(self._asker, SemanticQuery.Request(prompt=prompt))
        centers = [item.centroid for item in scene.room.objects if item.category == prompt]
        text, is_right = judged(response, centers)
        if is_right:
            self.get_logger().info(f'"{prompt}": {text}')
        else:
            self.get_logger().error(f'"{prompt}": {text}')
        return is_right

    def _answer(self, client: Client, request: Any) -> Any:
        """The response of a service; raises MapError where it says that it failed."""
        name = client.srv_name
        self.until(client.service_is_ready, f"the service {name}")
        asked = client.call_async(request)
        response = self.until(lambda: asked.done() and asked.result(), f"an answer of {name}")
        if not response.success:
            raise MapError(f"{name}: {response.message}")
        return response


def judged(response: SemanticQuery.Response, centers: Sequence[NDArray[np.float64]]) -> tuple[str, bool]:
    """An answer beside the truth, for a person, and whether it is right.

    Args:
        response: of a query that was answered.
        centers: of the things that are meant, [3] metres each; none if the room has none.
    """
    if not response.instances:
        text = f"nothing found, best score {response.best_score:.2f}, needed {response.threshold:.2f}"
        return (text, False) if centers else (f"{text}; the room has none", True)
    best = response.instances[0]
    place = np.array([best.centroid.x, best.centroid.y, best.centroid.z])
    text = f"found at ({', '.join(f'{value:.2f}' for value in place)}) m, score {best.score:.2f}"
    if not centers:
        return f"{text}; the room has none", False
    error = min(float(np.linalg.norm(place - center)) for center in centers)
    return f"{text}; {error:.2f} m from its true centre", error <= MAX_ERROR


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns its exit code."""
    return run_node(DemoCamera, "demo_camera", args)


if __name__ == "__main__":
    sys.exit(main())
