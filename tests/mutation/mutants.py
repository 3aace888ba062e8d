"""The mutants of a module: cosmic-ray's own operators where they make sense, and those for SQL and rules."""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutation.sql import DropFact, SwapInSql
from tests.mutation.targets import Target

# Of cosmic-ray's 200 operators those whose mutants are mistakes that a person makes.
_OURS = (
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Is_IsNot", "IsNot_Is",
    )),
    "core/ReplaceBinaryOperator_Add_Sub", "core/ReplaceBinaryOperator_Sub_Add",
    "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue", "core/AddNot", "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak", "core/NumberReplacer",
    "core/ZeroIterationForLoop",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    :ivar name: a digest of module, lines and operator, that stays while the lines around it change.
    :ivar diff: the changed lines.
    """

    target: Target
    name: str
    operator: str
    line: int
    code: str
    diff: str


def operators() -> dict[str, Operator]:
    """Return the operators by name."""
    known = set(operator_names())
    missing = [name for name in _OURS if name not in known]
    if missing:
        raise LookupError(f"cosmic-ray has no operators {missing}")
    ours = {name: get_operator(name)() for name in _OURS}
    return {**ours, "sql/SwapInSql": SwapInSql(), "sql/DropFact": DropFact()}


def mutants(target: Target, engine: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module, in a fixed order; two that read alike are one.

    :param engine: the folder of ``enerflo_sync``.
    """
    code = (engine / target.module).read_text()
    tree = get_ast(code)
    seen = {code}
    for name, operator in operators().items():
        places = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, place in enumerate(places):
            changed = mutate_code(code, operator, occurrence)
            if changed is None or changed in seen:
                continue
            seen.add(changed)
            lines = difflib.unified_diff(code.splitlines(), changed.splitlines(), lineterm="", n=0)
            diff = "\n".join(line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@")
            digest = hashlib.sha256(f"{target.module}\n{name}\n{diff}".encode()).hexdigest()[:12]
            yield Mutant(target, digest, name, place[0], changed, diff)


def sample(found: list[Mutant], number: int | None, seed: int) -> list[Mutant]:
    """Return ``number`` of the mutants, drawn by a seed; all where None."""
    if number is None or number >= len(found):
        return found
    return random.Random(seed).sample(found, number)
