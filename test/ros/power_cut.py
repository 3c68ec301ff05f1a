# SPDX-License-Identifier: Apache-2.0
"""What a power cut takes: bytes, names and renames that were not synced. A disk may keep them; this loses them."""

import os
import shutil
from pathlib import Path


class Unsynced:
    """Follows what a process writes below a folder, so that a power cut can be simulated.

    Args:
        root: what lies elsewhere is left alone.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes: dict[str, int] = {}  # of each file that was written, when it was synced last
        self._names: dict[str, list[tuple[str, str, str]]] = {}  # by folder: what, where from, what it replaced

    def opened(self, path: str, flags: int) -> None:
        """A file is about to be opened."""
        if not flags & (os.O_WRONLY | os.O_RDWR) or not self._is_followed(path):
            return
        is_new = not os.path.exists(path)
        self._sizes.setdefault(path, 0 if is_new or flags & os.O_TRUNC else os.path.getsize(path))
        self.made(path)

    def made(self, path: str) -> None:
        """A file or folder is about to be made, unless it is there."""
        if self._is_followed(path) and not os.path.exists(path):
            self._names.setdefault(os.path.dirname(path), []).append((path, "", ""))

    def renamed(self, old: str, new: str) -> None:
        """A file or folder is about to take another name."""
        if not self._is_followed(new):
            return
        replaced = ""
        if os.path.isfile(new):
            replaced = str(self._root / f"replaced-{sum(map(len, self._names.values()))}-{os.path.basename(new)}")
            Path(replaced).unlink(missing_ok=True)
            os.link(new, replaced)
        self._names.setdefault(os.path.dirname(new), []).append((new, old, replaced))
        self._sizes = {new + path[len(old) :] if _is_in(path, old) else path: n for path, n in self._sizes.items()}
        self._names = {new + path[len(old) :] if _is_in(path, old) else path: n for path, n in self._names.items()}

    def synced(self, descriptor: int) -> None:
        """A file or folder was synced."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self._sizes.pop(path, None)
        self._names.pop(path, None)

    def lose(self) -> None:
        """The power is gone: half of what was written to each file is on the disk, and no new name."""
        for path, size in self._sizes.items():
            if os.path.isfile(path):
                os.truncate(path, size + max(os.path.getsize(path) - size, 0) // 2)
        for changes in self._names.values():
            for path, old, replaced in reversed(changes):
                if old and os.path.exists(path):
                    os.rename(path, old)
                    if replaced:
                        os.rename(replaced, path)
                elif os.path.isdir(path):
                    shutil.rmtree(path)
                elif os.path.exists(path):
                    os.remove(path)

    def _is_followed(self, path: str) -> bool:
        return path.startswith(f"{self._root}/")


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
