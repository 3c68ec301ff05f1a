# SPDX-License-Identifier: Apache-2.0
"""Paths that others name: of files by a map, which may not lie outside of it, of folders by callers of a service, which
may not lie outside of where callers may write. No torch.
"""

import os
from pathlib import Path, PurePosixPath

from ccl_lgs_ros.errors import MapError


def is_inside(name: object) -> bool:
    """Whether a name can only be that of a file in a folder or below it, were there no links."""
    if not isinstance(name, str) or not name or not name.isprintable():
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and bool(path.parts) and ".." not in path.parts


def own_file(folder: Path, name: object) -> Path:
    """Where a file lies that a folder's own files name; it need not exist.

    Raises:
        MapError: if the name or a link leads out of the folder, or to something that is no plain file.
    """
    path = folder / str(name)
    if not is_inside(name) or not _leads_into(path, folder):
        raise MapError(f"{folder} names a file that is not its own ({str(name)[:80]!r}); take the map from elsewhere")
    if path.exists() and not path.is_file():
        raise MapError(f"{path} is no plain file; restore it from a copy")
    return path


def save_root(option: str, map_path: str) -> Path | None:
    """Where callers may read and write maps, as the option of that name says; None is anywhere."""
    if option == "/":
        return None
    return Path(os.path.expanduser(option)) if option else Path(os.path.expanduser(map_path)).absolute().parent


def permitted(path: str, root: Path | None) -> Path:
    """The folder that the caller of a service means.

    Args:
        path: as it came; ~ is the home folder, what is relative begins at the root.
        root: callers may not leave it; None trusts them with every place, and with $VARIABLES.

    Raises:
        MapError: if it is empty, or leads out of the root by `..`, a link or as it stands.
    """
    if not path or not path.isprintable():
        raise MapError(f"expected the path of a folder, got {path[:80]!r}; give one without control characters")
    if root is None:
        return Path(os.path.expanduser(os.path.expandvars(path)))
    if "$" in path:  # else answers would tell callers what the variables of this process hold
        raise MapError(f"{path[:80]!r} holds a variable, which save_root rules out; write the path in full")
    target = root / os.path.expanduser(path)
    if not _leads_into(target, root):
        raise MapError(f"{path[:80]!r} is not in {root}; give a folder there, or start the node with another save_root")
    return target.resolve()


def _leads_into(path: Path, folder: Path) -> bool:
    """Whether a path ends in a folder, all links and `..` followed."""
    try:
        path.exists()  # raises where it is too long
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
