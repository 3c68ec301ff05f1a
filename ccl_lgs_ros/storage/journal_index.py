# SPDX-License-Identifier: Apache-2.0
"""What each line of a keyframe journal still says, for those who repeat the journal elsewhere. No torch."""

from collections.abc import Iterable

CORRECTION = -1  # stands for the keyframe of a line that corrects poses


class JournalIndex:
    """The keyframe of each line, and the line that each keyframe's present pose is from."""

    def __init__(self) -> None:
        self._id_of_line: list[int] = []
        self._line_of_pose: list[int] = []

    def __len__(self) -> int:
        """Lines of the journal."""
        return len(self._id_of_line)

    def add_keyframe(self) -> None:
        """The next line is the next keyframe."""
        self._line_of_pose.append(len(self))
        self._id_of_line.append(len(self._line_of_pose) - 1)

    def add_correction(self, ids: Iterable[int]) -> None:
        """The next line moves keyframes that are there."""
        for id in ids:
            self._line_of_pose[id] = len(self)
        self._id_of_line.append(CORRECTION)

    def keyframe_of(self, line: int) -> int:
        """The id of the keyframe that a line is, CORRECTION where it is none."""
        return self._id_of_line[line]

    def moved_by(self, line: int) -> list[int]:
        """The ids of the keyframes whose present pose is from a line; later lines have taken the others over."""
        return [id for id, latest in enumerate(self._line_of_pose) if latest == line]
