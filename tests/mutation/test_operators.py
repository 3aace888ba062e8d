"""The operators change what they should, and nothing that is a comment, a docstring or a sentence."""

from __future__ import annotations

import pytest
from cosmic_ray.mutating import mutate_code

from tests.mutation.mutants import mutants, operators
from tests.mutation.run import ROOT
from tests.mutation.sql import DropFact, SwapInSql
from tests.mutation.targets import TARGETS


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


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.module)
def test_every_module_has_mutants_that_are_python(target):
    assert operators()
    found = list(mutants(target, ROOT / "include" / "enerflo_sync"))
    assert len(found) > 20
    for mutant in found[::10]:
        compile(mutant.code, target.module, "exec")
