# SPDX-License-Identifier: Apache-2.0
"""The viewer: a port that browsers connect to, and the map behind it."""

import contextlib
import io
import logging
import socket
import threading
from pathlib import Path
from types import TracebackType

import numpy as np
import viser

from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import ConfigError
from ccl_lgs_ros.viewer.page import Page, up_of
from ccl_lgs_ros.viewer.watcher import Sight, Watcher

logger = logging.getLogger(__name__)

WATCH_PERIOD = 1.0  # seconds between looks for a new version
PORTS_TRIED = 100  # after one that is taken


class Viewer:
    """Shows a map to every browser that connects, until it is closed.

    Args:
        path: the map directory; it may not exist yet, and may grow.
        config: whose encoder and rasterizer are used.
        host: address that is listened on; 127.0.0.1 = this computer alone, 0.0.0.0 = the network.
        port: 0 = any that is free.
        max_gaussians: as many as a browser gets.

    Raises:
        ConfigError: if the port is taken, naming one that is free.
    """

    def __init__(self, path: Path, config: MapConfig, *, host: str, port: int, max_gaussians: int) -> None:
        _check_port(host, port)
        self._config, self._host = config, host
        self._pages: dict[int, Page] = {}
        self._guard = threading.Lock()
        self._watcher = Watcher(path, config, max_gaussians, self._show)
        with contextlib.redirect_stdout(io.StringIO()):  # its banner
            self._server = _Server(host=host, port=port, label="ccl-lgs", verbose=False)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        self._server.gui.main_panel.dock_right()
        self._watcher.look()
        self._server.on_client_connect(self._enter)
        self._server.on_client_disconnect(self._leave)
        self._watching = threading.Thread(target=self._watcher.run, args=(WATCH_PERIOD,), daemon=True)
        self._watching.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.get_port()

    @property
    def url(self) -> str:
        """Where a browser on this computer finds it."""
        host = "localhost" if self._host in ("0.0.0.0", "127.0.0.1", "::", "::1", "") else self._host
        return f"http://{host}:{self.port}"

    @property
    def sight(self) -> Sight:
        """What is shown now."""
        return self._watcher.sight

    @property
    def clients(self) -> dict[int, viser.ClientHandle]:
        """The tabs that are open."""
        return self._server.get_clients()

    def close(self) -> None:
        """Let the browsers go."""
        self._watcher.end()
        self._watching.join()
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _enter(self, client: viser.ClientHandle) -> None:
        page = Page(client, self._config)
        with self._guard:
            self._pages[client.client_id] = page
        page.show(self.sight)

    def _leave(self, client: viser.ClientHandle) -> None:
        with self._guard:
            self._pages.pop(client.client_id, None)

    def _show(self, sight: Sight) -> None:
        if sight.subject is not None:
            self._server.scene.set_up_direction(np.asarray(up_of(sight.subject)))
        with self._guard:
            pages = list(self._pages.values())
        for page in pages:
            try:
                page.show(sight)
            except Exception:  # of one tab; the others are shown theirs
                logger.exception("a page could not be brought up to date")


class _Server(viser.ViserServer):
    """A map may show somebody's home: it is never passed on to the public relay that pages can ask viser for."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


def _check_port(host: str, port: int) -> None:
    """Raises ConfigError where a port cannot be listened on; viser would quietly take the next."""
    reason = _reason_against(host, port)
    if not reason:
        return
    free = next((p for p in range(port + 1, min(port + PORTS_TRIED, 65536)) if not _reason_against(host, p)), None)
    advice = f"choose another, for instance --port {free}" if free else "choose another with --port"
    raise ConfigError(f"cannot listen on port {port} of {host}: {reason}; {advice}")


def _reason_against(host: str, port: int) -> str:
    try:
        kind, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""
