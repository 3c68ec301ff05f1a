# SPDX-License-Identifier: Apache-2.0
"""The controls of one browser tab."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from viser import GuiApi

from ccl_lgs_ros.answers import Answer, Instance
from ccl_lgs_ros.config import MapConfig
from ccl_lgs_ros.level_names import offered, offered_name
from ccl_lgs_ros.pictures import Image
from ccl_lgs_ros.showing import asked_text
from ccl_lgs_ros.viewer.colouring import MODES, PHOTO
from ccl_lgs_ros.viewer.stage import Visible
from ccl_lgs_ros.viewer.subject import Question

MOST_INSTANCES = 50
FAINT, ALARM = "#888", "#d33"  # colours of texts
HINT = 'Name a thing that is in the map, for instance "red mug", and press Enter.'


class Panel:
    """What a person sets, and what they read; `on_...` say what happens then.

    Args:
        gui: of the tab.
        config: where the controls stand at first.
        on_ask: a prompt is asked.
        on_change: the same prompt is asked in another way.
        on_look: the same answer is shown in another way.
    """

    def __init__(
        self,
        gui: GuiApi,
        config: MapConfig,
        *,
        on_ask: Callable[[], None],
        on_change: Callable[[], None],
        on_look: Callable[[], None],
    ) -> None:
        self._gui = gui
        self._is_own_threshold = config.query.threshold == 0.0  # the encoder's, until somebody moves the slider
        self._status = gui.add_html("")
        with gui.add_form(None) as form:
            self._text = gui.add_text("Prompt", "", hint=HINT)
            button = gui.add_button("Ask")
        self._answer = gui.add_html(_paragraph(HINT, FAINT))
        self._instances: Any = None
        self._slot = gui.add_folder(None)
        with gui.add_folder("How"):
            self._colours = gui.add_dropdown("Colours", MODES, initial_value=PHOTO)
            levels = config.masks.level_names
            self._level = gui.add_dropdown(
                "Level", offered(levels), initial_value=offered_name(levels, config.query.level)
            )
            self._threshold = gui.add_slider("Threshold", 0.0, 1.0, 0.01, config.query.threshold or 0.5)
            self._most = gui.add_slider(
                "Instances", 1, max(MOST_INSTANCES, config.query.max_instances), 1, config.query.max_instances
            )
            self._boxes = gui.add_checkbox("Boxes", True)
            self._path = gui.add_checkbox("Camera path", True)
            self._keyframes = gui.add_checkbox("Keyframes", False, hint="Click one for its photo.")
            self._floor = gui.add_checkbox("Floor", True)
            self._stands = gui.add_checkbox("Where to stand", True, hint="Poses of a robot before what was clicked.")
        self._pictures: Any = None
        self._picture_slot = gui.add_folder(None)
        button.on_click(lambda _: form.submit())
        form.on_submit(lambda _: on_ask())
        self._threshold.on_update(lambda event: self._threshold_moved(event, on_change))
        for control in (self._level, self._most):
            control.on_update(lambda _: on_change())
        for control in (self._colours, self._boxes, self._path, self._keyframes, self._floor, self._stands):
            control.on_update(lambda _: on_look())

    @property
    def question(self) -> Question | None:
        """What is asked; None while there is no prompt."""
        text = self._text.value.strip()
        if not text:
            return None
        return Question(
            text=text,
            threshold=None if self._is_own_threshold else self._threshold.value,
            level=self._level.value,
            max_instances=self._most.value,
        )

    def offer_levels(self, names: Iterable[str]) -> None:
        """Offer the levels of a map; what was chosen stays where the map has it."""
        choices = offered(names)
        if tuple(self._level.options) != choices:
            self._level.options = choices

    @property
    def colours(self) -> str:
        """How the splats are coloured."""
        return self._colours.value

    @property
    def level(self) -> str:
        """The level that is asked: auto, whole, part, or the name of another one."""
        return self._level.value

    @property
    def visible(self) -> Visible:
        """Which parts of the scene are seen."""
        return Visible(
            boxes=self._boxes.value,
            path=self._path.value,
            keyframes=self._keyframes.value,
            floor=self._floor.value,
            stands=self._stands.value,
        )

    def show_status(self, text: str, trouble: str = "") -> None:
        """What is shown, and what is wrong with it."""
        self._status.content = _paragraph(text, FAINT) + (_paragraph(trouble, ALARM) if trouble else "")

    def show_answer(self, found: Answer, on_choose: Callable[[Instance], None]) -> None:
        """What was found, what was understood, and the instances to choose from."""
        reading = found.reading
        is_telling = reading is not None and (reading.is_doubtful or not reading.is_plain)
        self._answer.content = _paragraph(f"“{asked_text(found)}”: {found.message}", "", is_bold=True) + (
            _paragraph(reading.sentence, FAINT) if reading is not None and is_telling else ""
        )
        if self._is_own_threshold:
            self._threshold.value = round(found.threshold, 2)
        self._clear()
        with self._slot:
            self._instances = self._gui.add_folder("Instances", visible=bool(found.instances))
        with self._instances:
            for place, instance in enumerate(found.instances, start=1):
                button = self._gui.add_button(instance_line(place, instance), color="gray", hint="Fly there.")
                button.on_click(lambda _, instance=instance: on_choose(instance))

    def show_waiting(self, text: str) -> None:
        """What an answer waits for."""
        self._clear()
        self._answer.content = _paragraph(text, FAINT)

    def show_problem(self, text: str) -> None:
        """Why there is no answer."""
        self._clear()
        self._answer.content = _paragraph(text, ALARM)

    def show_pictures(self, title: str, pictures: Sequence[tuple[str, Image]], note: str = "") -> None:
        """Some photos, each with a line of text, and a note under them."""
        if self._pictures is not None:
            self._pictures.remove()
        with self._picture_slot:
            self._pictures = self._gui.add_folder(title)
        with self._pictures:
            for label, image in pictures:
                self._gui.add_image(image, label=label)
            if note:
                self._gui.add_html(_paragraph(note, FAINT))

    def _clear(self) -> None:
        for part in (self._instances, self._pictures):
            if part is not None:
                part.remove()
        self._instances = self._pictures = None

    def _threshold_moved(self, event: Any, on_change: Callable[[], None]) -> None:
        if event.client is None:  # set by show_answer
            return
        self._is_own_threshold = False
        on_change()


def instance_line(place: int, instance: Instance) -> str:
    """An instance in a line: its number, score, size and, where the map knows it, uncertainty."""
    size = " x ".join(f"{x:.2f}" for x in instance.box.size)
    doubt = "" if instance.uncertainty is None else f", uncertainty {instance.uncertainty:.2f}"
    return f"{place}: score {instance.score:.2f}, {size} m{doubt}"


def _paragraph(text: str, colour: str, is_bold: bool = False) -> str:
    """A text as HTML, whatever it holds."""
    style = (f"color:{colour};" if colour else "") + ("font-weight:600;" if is_bold else "")
    return f'<p style="margin:0.4em 0.9em;font-size:0.85em;{style}">{escape(text)}</p>'
