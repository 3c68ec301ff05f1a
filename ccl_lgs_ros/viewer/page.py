# SPDX-License-Identifier: Apache-2.0
"""One browser tab: what its controls say becomes what its scene shows. Tabs share the map and nothing else."""

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from viser import ClientHandle

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.storage.keyframe_entry import KeyframeEntry
from ccl_lgs_ros.structures import NONE
from ccl_lgs_ros.viewer.cameras import View, first_view, fov_of, view_of, view_through
from ccl_lgs_ros.viewer.colouring import RELEVANCY, TRACKS, code_colors, heat_colors, shown_level
from ccl_lgs_ros.viewer.eye import Eye
from ccl_lgs_ros.viewer.panel import Panel
from ccl_lgs_ros.viewer.picking import struck
from ccl_lgs_ros.viewer.stage import Stage
from ccl_lgs_ros.viewer.subject import Subject
from ccl_lgs_ros.viewer.watcher import Sight

PICTURES = 3  # best views shown of an instance


class Page:
    """See the module. Every public method may be called by any thread."""

    def __init__(self, client: ClientHandle, config: MapConfig) -> None:
        self._eye = Eye(client)
        self._guard = threading.RLock()
        self._asked = 0  # questions so far; only the last one is worth an answer
        self._subject: Subject | None = None
        self._number = 0  # of the last sight
        self._keyframes: tuple[int, ...] = ()
        self._found: Answer | None = None
        self._has_view = False
        self._stage = Stage(client)
        self._stage.on_click(self.click)
        self._panel = Panel(client.gui, config, on_ask=self.ask_and_turn, on_change=self.ask, on_look=self.look)

    def show(self, sight: Sight) -> None:
        """Take what there is to show now; the prompt stays and is asked anew where the map is another."""
        with self._guard:
            if sight.number < self._number:
                return
            subject, before = sight.subject, self._subject
            self._panel.show_status(status_of(sight), sight.trouble)
            keyframes = tuple(entry.revision for entry in sight.entries)
            self._subject, self._number = subject, sight.number
            if not self._has_view and (subject is not None or not self._keyframes):
                self._open_view(sight)
            is_new = subject is not None and (before is None or before.semantic_map is not subject.semantic_map)
            if subject is None:
                self._found = None
                self._stage.clear_splats()
                self._stage.clear_answer()
            elif is_new:
                self._found = None
                self._panel.offer_levels(subject.semantic_map.levels)
                self._stage.show_splats(subject.splats, self._colors(subject))
                self._stage.show_floor(subject.splats, up_of(subject), self._panel.visible.floor)
            if keyframes != self._keyframes:
                self._keyframes = keyframes
                self._stage.show_keyframes(sight.entries, self.open, self._panel.visible)
        if is_new:
            self.ask()

    def ask(self) -> None:
        """Put the prompt to the map, and show the answer."""
        self._asked += 1
        number = self._asked
        with self._guard:
            subject, question = self._subject, self._panel.question
            if number != self._asked or question is None:
                return
            if subject is None:
                self._panel.show_waiting("there is no map yet; the prompt is asked as soon as there is one")
                return
            if not subject.is_ready():
                self._panel.show_waiting("what understands the prompt is being loaded ...")
            try:
                self._found = subject.ask(replace(question, seen_from=self._eye.world_from_viewer))
            except CclLgsError as error:
                self._found = None
                self._panel.show_problem(str(error))
                self._stage.clear_answer()
            else:
                self._panel.show_answer(self._found, self.choose)
                self._stage.show_answer(self._found, self._panel.visible.boxes)
            self._stage.paint(self._colors(subject))

    def ask_and_turn(self) -> None:
        """The same, and fly to the best instance where none is in sight."""
        self.ask()
        with self._guard:
            found = self._found
            if found is None or not found.instances:
                return
            if not any(self._eye.sees(item.centroid) for item in found.instances):
                self._fly_to(found.instances[0])

    def look(self) -> None:
        """Show the same in the way that the controls say now."""
        with self._guard:
            self._stage.set_visible(self._panel.visible)
            if self._subject is not None:
                self._stage.paint(self._colors(self._subject))

    def click(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> None:
        """Choose the instance that a ray strikes, if any."""
        found = self._found
        instance = struck(found.instances, origin, direction) if found is not None else None
        if instance is not None:
            self.choose(instance)

    def choose(self, instance: Instance) -> None:
        """Fly to an instance, and show the photos that show it best."""
        with self._guard:
            subject, found = self._subject, self._found
            if subject is None or found is None:
                return
            self._stage.show_answer(found, self._panel.visible.boxes, selected=instance.id)
            self._fly_to(instance)
            ids = instance.keyframe_ids[:PICTURES]
            try:
                stands = subject.approaches(instance)
                self._stage.show_stands(stands.poses, up_of(subject), self._panel.visible.stands)
                pictures = [(f"keyframe {id}", subject.picture(found, instance, id)) for id in ids]
                title = "Best views" if ids else "No keyframe shows it"
                self._panel.show_pictures(title, pictures, f"Where to stand: {stands.message}.")
            except CclLgsError as error:
                self._panel.show_problem(str(error))

    def open(self, entry: KeyframeEntry) -> None:
        """Fly to where a keyframe was taken, and show its photo."""
        with self._guard:
            self._eye.fly(view_through(entry))
            if self._subject is not None:
                self._panel.show_pictures(f"Keyframe {entry.id}", [("", self._subject.photo(entry.id))])

    def _colors(self, subject: Subject) -> NDArray[np.float32]:
        mode, found = self._panel.colours, self._found
        if mode == TRACKS:
            level = shown_level(subject.semantic_map, self._panel.level, found.level if found else "")
            return code_colors(subject.splats, subject.semantic_map, level)
        if mode == RELEVANCY and found is not None:
            return heat_colors(subject.splats, subject.relevancy(found))
        return subject.splats.colors

    def _open_view(self, sight: Sight) -> None:
        subject = sight.subject
        points = subject.splats.centers if subject else np.zeros((0, 3))
        opened = first_view(sight.entries, points, tracks_of(subject) if subject else np.zeros(0, np.int32))
        if opened is None:
            return
        view, entry = opened
        self._has_view = subject is not None
        self._eye.stand(view, fov_of(entry.camera))

    def _fly_to(self, instance: Instance) -> None:
        """To where the best view of an instance was taken; without any, turn towards it."""
        best = instance.keyframe_ids[:1]
        if best and self._subject is not None:
            self._eye.fly(view_of(self._subject.store.entries[best[0]], instance.centroid))
        else:
            self._eye.fly(View(position=self._eye.view.position, look_at=instance.centroid))


def tracks_of(subject: Subject) -> NDArray[np.integer]:
    """The track [n] of each splat at the coarsest level; -1 where there is none."""
    name = shown_level(subject.semantic_map)
    if not name:
        return np.full(len(subject.splats), NONE)
    return subject.semantic_map.levels[name].track_of_gaussian.numpy()[subject.splats.ids]


def up_of(subject: Subject) -> NDArray[np.float64]:
    """The direction [3] that is up in a map."""
    up = np.asarray(subject.semantic_map.map_up, np.float64)
    return up / np.linalg.norm(up)


def status_of(sight: Sight) -> str:
    """What is shown, in a line."""
    subject, name = sight.subject, sight.path.resolve().name
    keyframes = f"{len(sight.entries)} keyframes"
    if subject is None:
        return f"{name}: waiting for the first version of the map ({keyframes} so far)"
    splats = subject.splats
    shown = f"{len(splats):,} Gaussians".replace(",", " ")
    if len(splats) < splats.total:
        shown += f" of {splats.total:,} (those that show most)".replace(",", " ")
    return f"{name}: version {subject.semantic_map.version}, {shown}, {keyframes}"
