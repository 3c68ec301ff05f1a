# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that starts by itself, says why a transition failed, and lives on."""

from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ccl_lgs_ros.ros.guards import log_error, sentence


class AutostartNode(LifecycleNode):
    """Subclasses fill `configure`, `activate`, `deactivate` and `cleanup`, which raise to refuse."""

    error = ""  # why the last transition failed, one sentence

    def start(self, autostart: bool) -> None:
        """Configure and activate, unless a lifecycle manager is to do it."""
        if autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def configure(self) -> None:
        """Open what is needed."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working; harmless when nothing works."""

    def cleanup(self) -> None:
        """Let go of everything; harmless when nothing is held."""

    def close(self) -> None:
        """Stop working and let go of everything."""
        self.deactivate()
        self.cleanup()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._transition("configure", self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        result = self._transition("activate", self.activate)
        return super().on_activate(state) if result == TransitionCallbackReturn.SUCCESS else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        super().on_deactivate(state)
        return self._transition("deactivate", self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._transition("cleanup", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._transition("shutdown", self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy; back to unconfigured, from where it can be tried again."""
        return self._transition("recover", self.close)

    def _transition(self, what: str, work: Any) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:
            self.error = sentence(error)
            log_error(self.get_logger(), what, error)
            return TransitionCallbackReturn.FAILURE
        self.error = "" if what in ("configure", "activate") else self.error
        return TransitionCallbackReturn.SUCCESS
