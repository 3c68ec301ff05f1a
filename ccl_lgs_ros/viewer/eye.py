# SPDX-License-Identifier: Apache-2.0
"""The camera of one browser tab: where it is, and how it gets elsewhere."""

import time

import numpy as np
from numpy.typing import NDArray
from viser import ClientHandle

from ccl_lgs_ros.geometry import rigid, rotation_from_quat
from ccl_lgs_ros.viewer.cameras import View, flight, is_in_sight

FLIGHT_PERIOD = 0.03  # seconds between the views of a flight


class Eye:
    """See the module; client is the tab."""

    def __init__(self, client: ClientHandle) -> None:
        self._client = client

    @property
    def view(self) -> View:
        """Where it is now."""
        camera = self._client.camera
        return View(position=camera.position, look_at=camera.look_at)

    @property
    def world_from_viewer(self) -> NDArray[np.float64]:
        """The same as [4, 4], axes of a camera."""
        camera = self._client.camera
        return rigid(rotation_from_quat(camera.wxyz), camera.position)

    def sees(self, point: NDArray[np.floating]) -> bool:
        """Whether a point [3] is in sight, if nothing hides it."""
        return is_in_sight(self.view, self._client.camera.fov, point)

    def stand(self, view: View, fov: float | None = None) -> None:
        """Be there at once; fov is the angle from the lower to the upper edge, None as it is."""
        camera = self._client.camera
        with self._client.atomic():
            camera.position = view.position
            camera.look_at = view.look_at
            if fov is not None:
                camera.fov = fov

    def fly(self, view: View) -> None:
        """Be there in a moment."""
        for step in flight(self.view, view):
            self.stand(step)
            self._client.flush()
            time.sleep(FLIGHT_PERIOD)
