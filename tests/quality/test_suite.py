"""Mistakes in change_orders.yaml are said by file, line, and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.quality.suite import SUITE_FILE, json_schema, load_suite
from tests.quality.conftest import SUITE

MISTAKES = [
    ("    column: panel_count_new\n", "    column: panel_cuont_new\n", "did you mean panel_count_new?"),
    ("    at_most: 200\n", "    at_msot: 200\n", "did you mean at_most?"),
    ("    at_least: 1\n    at_most: 200\n", "    at_least: 200\n    at_most: 1\n", "the wrong way round"),
    ("    at_least: 1\n    at_most: 200\n", "", "found no rule, expected one of present"),
    ("    at_most: 200\n", "    at_most: 200\n    present: true\n", "2 rules (present, range)"),
    ("    at_most: 200\n", "    at_most: a few\n", "expected a"),
    ("    severity: warn\n", "    severity: hodl\n", "did you mean hold?"),
    (
        "    expected: panel_count_before",
        "    expected: panel_count_befor",
        "did you mean panel_count_before?",
    ),
    ("    column: battery_count_new\n", "    column: battery_new\n", "which is a text, with the rule range"),
    ("  pending: [pending, draft, sent]", "  pending: [pending, complete]", "which is signed as well"),
    ('.*)$"', '.*$"', "expected a pattern"),
    ("    above: 0\n", "    above: 0\n    at_least: 0\n", "above beside at_least"),
    ("  panel_count_range:\n", "  Panel Count:\n", "lower-case letters"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_a_mistake_is_said_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SUITE.read_text()
    assert old in text
    path = tmp_path / "change_orders.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidConfigurationError) as raised:
        load_suite(path, {})
    problems = raised.value.problems
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]
    assert all(str(problem).startswith(f"{path}:{problem.line}: ") for problem in problems)
    assert max(problem.line for problem in problems) > 1 or "version" in old


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "change_orders.yaml"
    text = SUITE.read_text()
    for old, new, _ in MISTAKES[:2]:
        text = text.replace(old, new, 1)
    path.write_text(text.replace("at_most: 12\n", "at_most: no\n"))
    with pytest.raises(InvalidConfigurationError) as raised:
        load_suite(path, {})
    assert len(raised.value.problems) >= 2


def test_the_suite_is_found_beside_the_configuration(tmp_path: Path) -> None:
    assert SUITE_FILE.find(tmp_path / "sync.yaml", {}) == SUITE
    own = tmp_path / "change_orders.yaml"
    own.write_text(SUITE.read_text())
    assert SUITE_FILE.find(tmp_path / "sync.yaml", {}) == own
    assert SUITE_FILE.find(tmp_path / "sync.yaml", {SUITE_FILE.variable: "/else"}) == Path("/else")
    with pytest.raises(ConfigurationError, match="the suite cannot be read"):
        load_suite(tmp_path / "none.yaml", {})


def test_the_schema_names_the_options() -> None:
    schema = json_schema()
    assert {"is", "at_least", "severity"} <= set(schema["$defs"]["CheckOptions"]["properties"])
