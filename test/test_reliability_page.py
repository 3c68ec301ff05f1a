# SPDX-License-Identifier: Apache-2.0
"""docs/reliability.md shows a passed test for every row, and is made from the tests that there are."""

from collections import defaultdict
from pathlib import Path

import pytest
from reliability_page import Outcome, ReliabilityPage, link, linked_tests, page, row_tests
from ros.reliability_rows import ROWS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"


def test_there_are_44_rows_and_each_has_a_test() -> None:
    assert list(ROWS) == list(range(1, 45))
    assert set(row_tests()) == set(ROWS)


def test_the_page_names_the_tests_that_there_are_and_each_row_has_passed_one() -> None:
    named, results = defaultdict(list), defaultdict(set)
    for row, test, result in linked_tests(PAGE.read_text()):
        named[row].append(test)
        results[row].add(result)
    assert named == {row: [link(test) for test in tests] for row, tests in row_tests().items()}, "run make reliability"
    assert all("passed" in found and not found & {"failed", "not run"} for found in results.values())


def test_a_page_tells_what_happened() -> None:
    row, (first, *_) = next(iter(row_tests().items()))
    made = page({first: Outcome({"passed"}, ["3 | 4 ms"]), "test/test_x.py::test_load": Outcome({"failed"}, ["9 s"])})
    assert (row, link(first), "passed") in list(linked_tests(made))
    assert "3 / 4 ms" in made and "| [load](../test/test_x.py) | failed | 9 s |" in made
    assert all(f"| {number} | {row.failure} | {row.answer} |" in made for number, row in ROWS.items())


def test_results_of_variants_are_joined_and_a_failure_counts(tmp_path: Path) -> None:
    def report(name: str, outcome: str, when: str = "call", figure: str = "") -> pytest.TestReport:
        properties = [("figure", figure)] if figure else []
        return pytest.TestReport(name, ("", 0, ""), {}, outcome, None, when, user_properties=properties)  # type: ignore

    (first, *_), *_ = row_tests().values()
    plugin = ReliabilityPage(tmp_path / "page.md", is_writer=True)
    for one in (
        report(f"{first}[a]", "passed", figure="1 ms"),
        report(f"{first}[a]", "passed", when="teardown", figure="1 ms"),
        report(f"{first}[b]", "failed", figure="2 ms"),
    ):
        plugin.pytest_runtest_logreport(one)
    plugin.pytest_sessionfinish()
    assert f"{link(first)} | failed | 1 ms; 2 ms |" in (tmp_path / "page.md").read_text()
