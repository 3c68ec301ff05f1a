# SPDX-License-Identifier: Apache-2.0
"""The pages say what is true: links lead somewhere, commands and options exist, quoted messages are the code's."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from ccl_lgs_ros.cli import parser
from ccl_lgs_ros.config import MapConfig, options

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"`((?:[a-z_]+\.)[a-z_0-9]+)(?:=[^`]*)?`")
COMMAND = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?ccl-lgs (\S.*)$", re.MULTILINE)
GROUPS = {name.partition(".")[0] for name, *_ in options(MapConfig()) if "." in name}
VARIES = r"…|'[^']*'|\[[^\]]*\]|[0-9][0-9.]*|[:;()<,]|/[a-z]+"  # in a message: names, numbers, and what stands between
LEAST_QUOTED = 8  # letters of a message between what varies


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" in target or target.startswith("<"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target} is not there"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name}: {there.name} has no heading for #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_named_exists(page: Path) -> None:
    known = {name for name, *_ in options(MapConfig())}
    named = {name for name in OPTION.findall(page.read_text()) if name.partition(".")[0] in GROUPS}
    files = {name for name in named if name.endswith(".py")}
    assert named - files <= known, f"{page.name}: no option {sorted(named - files - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = parser()
    for line in COMMAND.findall(re.sub(r"\\\n\s*", " ", page.read_text())):
        line = re.split(r"\s#|\s{2,}|\s\||\s&&|\s>", line)[0]
        if "…" in line or "COMMAND" in line:
            continue
        try:
            top.parse_args(shlex.split(line))
        except SystemExit as end:
            assert end.code == 0, f"{page.name}: ccl-lgs {line}: {capsys.readouterr().err.splitlines()[-1]}"


@cache
def spoken() -> str:
    """Every string in the code, the parts of formatted ones too, a line each; those that follow each other joined."""
    found = []
    for path in [*(ROOT / "ccl_lgs_ros").rglob("*.py"), ROOT / "scripts" / "set_up.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize(
    "message", re.findall(r"^\*\*`(.*?)`\*\*", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
)
def test_every_message_explained_is_one_of_ours(message: str) -> None:
    parts = [part for part in re.split(VARIES, message) if len(part.strip()) >= LEAST_QUOTED]
    assert parts, f"{message!r} quotes nothing"
    for part in parts:
        assert part.strip() in spoken(), f"{message!r}: nobody says {part.strip()!r}"
