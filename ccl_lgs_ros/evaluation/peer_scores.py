# SPDX-License-Identifier: Apache-2.0
"""What a published protocol gives: its figures for every unit, and both means over scenes that papers use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ccl_lgs_ros.evaluation.metrics import query_weighted, scene_macro


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUnit:
    """The figures of one prompt or class in one view, or in a whole scene where there are no views."""

    prompt: str
    view: str = ""
    values: Mapping[str, float]  # by the figure's name, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerScores:
    """Every figure of a protocol: a unit has those that apply to it."""

    protocol: str
    scenes: Mapping[str, tuple[PeerUnit, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """The figures that any unit has."""
        return tuple(dict.fromkeys(name for units in self.scenes.values() for unit in units for name in unit.values))

    def scene_macro(self, name: str) -> float | None:
        """The mean over scenes of each scene's mean over units; None without any unit."""
        scores = [values for units in self.scenes.values() if (values := _values(units, name))]
        return scene_macro(scores) if scores else None

    def query_weighted(self, name: str) -> float | None:
        """The mean over the units of all scenes together; None without any unit."""
        scores = [values for units in self.scenes.values() if (values := _values(units, name))]
        return query_weighted(scores) if scores else None

    def to_json(self) -> dict[str, Any]:
        """The figures by name, and each unit, so that intervals can be had."""
        return {
            "protocol": self.protocol,
            "scene_macro": {name: self.scene_macro(name) for name in self.names},
            "query_weighted": {name: self.query_weighted(name) for name in self.names},
            "scenes": {
                scene: {
                    "figures": _means(units, self.names),
                    "per_prompt": {prompt: _means(of, self.names) for prompt, of in _by_prompt(units).items()},
                    "units": [{"prompt": u.prompt, "view": u.view, **u.values} for u in units],
                }
                for scene, units in self.scenes.items()
            },
        }

    def __str__(self) -> str:
        rows = [["", *self.names, "units"]]
        for scene, units in self.scenes.items():
            if len(self.scenes) == 1:
                rows += [[prompt or "(all)", *_cells(of, self.names)] for prompt, of in _by_prompt(units).items()]
            else:
                rows.append([scene, *_cells(units, self.names)])
        count = sum(len(units) for units in self.scenes.values())
        means = (("mean over scenes", self.scene_macro), ("mean over units", self.query_weighted))
        rows += [[title, *(_text(mean(name)) for name in self.names), str(count)] for title, mean in means]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([f"{self.protocol}: {', '.join(self.scenes)}", *lines])


def _values(units: Iterable[PeerUnit], name: str) -> list[float]:
    return [unit.values[name] for unit in units if name in unit.values]


def _means(units: tuple[PeerUnit, ...], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name in names if (values := _values(units, name))}


def _by_prompt(units: tuple[PeerUnit, ...]) -> dict[str, tuple[PeerUnit, ...]]:
    prompts = dict.fromkeys(unit.prompt for unit in units)
    return {prompt: tuple(unit for unit in units if unit.prompt == prompt) for prompt in prompts}


def _cells(units: tuple[PeerUnit, ...], names: Iterable[str]) -> list[str]:
    means = _means(units, names)
    return [*(_text(means.get(name)) for name in names), str(len(units))]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
