# SPDX-License-Identifier: Apache-2.0
"""The names of mask levels, finest first, and which of them stands for whole things and which for parts.

sp and wp are those of CCL-LGS: subpart and part; whole and part. s, m and l are those of LangSplat: subpart; part;
whole.
"""

from collections.abc import Iterable

from ccl_lgs_ros.errors import ConfigError

FINE_FIRST = ("s", "sp", "m", "wp", "l")
LEVELS = ("sp", "wp")  # that a map has by default
AUTO, WHOLE, PART = "auto", "whole", "part"
WANTED = (AUTO, WHOLE, PART, *FINE_FIRST)  # what may be asked for


def coarse_first(names: Iterable[str]) -> tuple[str, ...]:
    """Level names in order, whole things before parts."""
    known = set(names)
    return tuple(name for name in reversed(FINE_FIRST) if name in known)


def coarsest(names: Iterable[str]) -> str:
    """The level of whole things; '' where there is none."""
    return next(iter(coarse_first(names)), "")


def finest(names: Iterable[str]) -> str:
    """The level of parts; '' where there is none."""
    return next(reversed(coarse_first(names)), "")


def offered(names: Iterable[str]) -> tuple[str, ...]:
    """What a person may choose of these levels: the coarsest and the finest as "whole" and "part", others by name."""
    known = coarse_first(names)
    return (AUTO, WHOLE, *known[1:-1], *((PART,) if len(known) > 1 else ()))


def offered_name(names: Iterable[str], wanted: str) -> str:
    """The name under which a wanted level is offered; "auto" where it is not."""
    known = tuple(names)
    ends = {finest(known): PART, coarsest(known): WHOLE}
    name = ends.get(wanted, wanted)
    return name if name in offered(known) else AUTO


def named_level(names: Iterable[str], wanted: str) -> str:
    """What is meant by "whole" and "part" among some levels; any other name as it is. One level has no parts."""
    known = coarse_first(names)
    meant = {WHOLE: coarsest(known)} if known else {}
    if len(known) > 1:
        meant[PART] = finest(known)
    return meant.get(wanted, wanted)


def level_of_map(names: Iterable[str], wanted: str) -> str:
    """The level that is meant among those of a map, or "auto".

    Raises:
        ConfigError: if the map has levels, yet not that one.
    """
    known = tuple(names)
    name = named_level(known, wanted)
    if known and name not in (AUTO, *known):
        raise ConfigError(f"the map has no level '{name}'; it has: {', '.join(known)}")
    return name
