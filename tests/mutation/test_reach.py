"""A mutant is tried with the tests that reach its line, and with no other."""

from __future__ import annotations

import pytest

from tests.mutation.reach import REACHED, Code, Kept, Reach, Timed, noting

ONE = """\
'''A module.'''

from __future__ import annotations

RULE = "select 1"
WRAPPED = RULE + " where a"


def plain(a: int = 3) -> int:
    '''Return something.'''
    if a == 3:
        return 1
    elif a == 4:
        return 2
    return 0


def asks() -> str:
    return WRAPPED
"""
TWO = """\
from enerflo_sync.one import RULE


def uses() -> str:
    found = RULE
    return found
"""
CODE = Code({"one.py": ONE, "two.py": TWO})


def test_the_statements_that_a_call_runs_are_noted():
    space: dict[str, object] = {}
    exec(compile(noting(ONE, "one.py"), "one.py", "exec"), space)  # noqa: S102 - the code above
    REACHED.clear()
    assert space["plain"](4) == 2
    assert {"one.py:11", "one.py:13", "one.py:14"} == REACHED
    assert space["plain"].__doc__ == "Return something."


@pytest.mark.parametrize(
    ("line", "places"),
    [
        (11, {"one.py:11"}),
        (12, {"one.py:12"}),
        # A signature is run with the function.
        (9, {"one.py:11"}),
        # A constant where it is used: by another constant, and in another module.
        (5, {"one.py:19", "two.py:5"}),
        (6, {"one.py:19"}),
        (1, set()),
    ],
)
def test_a_line_is_reached_where_its_code_is_run(line, places):
    assert CODE.places("one.py", line) == places


def test_likely_tests_come_first_and_others_are_left_out():
    reached = frozenset({"one.py:11"})
    tests = [
        Timed("tests/b.py::slow", 2.0, reached),
        Timed("tests/b.py::quick", 1.0, reached),
        Timed("tests/a.py::first", 9.0, reached),
        Timed("tests/c.py::other", 0.1, frozenset({"one.py:12"})),
    ]
    reach = Reach(CODE, tests)
    assert [one.name for one in reach.order("one.py", 11, ["tests/a.py"])] == [
        *("tests/a.py::first", "tests/b.py::quick", "tests/b.py::slow")
    ]
    reach.noticed("one.py", "tests/b.py::slow")
    assert reach.order("one.py", 11, ["tests/a.py"])[0].name == "tests/b.py::slow"
    # Where nobody knows what runs a line, all tests of the module are tried.
    assert len(reach.order("one.py", 1, [])) == 4


def test_what_was_measured_holds_until_a_file_or_a_module_changes(tmp_path):
    file = tmp_path / "test_a.py"
    file.write_text("1")
    tests = [Timed("test_a.py::one", 1.5, frozenset({"one.py:11"}))]
    Kept(tmp_path / "k" / "reached.json", CODE).keep(tmp_path, "test_a.py", tests)
    assert Kept(tmp_path / "k" / "reached.json", CODE).of(tmp_path, "test_a.py") == tests
    other = Code({"one.py": ONE + "\n", "two.py": TWO})
    assert Kept(tmp_path / "k" / "reached.json", other).of(tmp_path, "test_a.py") is None
    # Whether it reaches a module that became a target since is not known.
    more = Code({"one.py": ONE, "two.py": TWO, "three.py": "A = 1\n"})
    assert Kept(tmp_path / "k" / "reached.json", more).of(tmp_path, "test_a.py") is None
    file.write_text("2")
    assert Kept(tmp_path / "k" / "reached.json", CODE).of(tmp_path, "test_a.py") is None
