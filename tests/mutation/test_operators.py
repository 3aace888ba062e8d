"""The operators change what they should, and nothing that is a comment, a docstring or a sentence."""

from __future__ import annotations

from itertools import islice

import pytest
from cosmic_ray.mutating import mutate_code

from tests.mutation.mutants import mutants, operators
from tests.mutation.run import ROOT
from tests.mutation.sql import DropFact, SwapInSql
from tests.mutation.targets import TARGETS, Target


@pytest.mark.parametrize("operator", [SwapInSql(), DropFact()], ids=lambda one: type(one).__name__)
def test_each_example_is_made(operator):
    for example in operator.examples():
        code = mutate_code(example.pre_mutation_code, operator, example.occurrence)
        assert code == example.post_mutation_code


@pytest.mark.parametrize(
    "code",
    [
        'x = "Both sides changed it and nobody was asked"',
        'x = "/* a.b >= 1 and select */"',
        'def f():\n    """Select where a.b is null and c."""\n',
    ],
)
def test_sentences_comments_and_docstrings_are_left_alone(code):
    assert mutate_code(code, SwapInSql(), 0) is None
    assert mutate_code(code, DropFact(), 0) is None


@pytest.mark.parametrize("module", ["crm/decision.py", "agreed/twins.py", "mirror/sweep.py"])
def test_a_module_of_each_kind_has_mutants_that_are_python(module):
    assert operators()
    (target,) = [one for one in TARGETS if one.module == module]
    # Of the first 20, and of rules, templates and statements alone: to make all takes minutes.
    found = list(islice(mutants(target, ROOT / "include" / "enerflo_sync"), 20))
    assert len({mutant.name for mutant in found}) == 20
    for mutant in found:
        compile(mutant.code, module, "exec")


def test_what_an_assignment_says_is_no_comparison():
    code = 'x = "update t set a = 1, b = 2 where c = 3"'
    assert mutate_code(code, SwapInSql(), 0) == code.replace("c = 3", "c <> 3")
    assert mutate_code(code, SwapInSql(), 1) is None


def test_a_mutant_that_says_the_same_as_another_is_made_once(tmp_path):
    (tmp_path / "one.py").write_text("def f(a, b):\n    if a == b:\n        return 2\n    return 3\n")
    found = list(mutants(Target("one.py", ()), tmp_path))
    changed = [" ".join(mutant.diff.splitlines()[1][1:].split()) for mutant in found]
    assert changed == ["if a != b:", "return 3", "return 1", "return 4", "return 2"]
    assert [mutant.line for mutant in found] == [2, 3, 3, 4, 4]


def test_a_condition_that_assigns_a_name_is_negated_as_a_whole(tmp_path):
    (tmp_path / "one.py").write_text("def f(a):\n    while b := a.pop():\n        print(b)\n")
    changed = [mutant.code.splitlines()[1].strip() for mutant in mutants(Target("one.py", ()), tmp_path)]
    assert changed == ["while not (b := a.pop()):"]


def test_every_target_and_its_tests_are_there():
    for target in TARGETS:
        assert (ROOT / "include" / "enerflo_sync" / target.module).is_file()
        assert all((ROOT / name).exists() for name in target.tests), target.module
