"""The mutants of a module: cosmic-ray's own operators where they make sense, and those for SQL and rules."""

from __future__ import annotations

import ast
import difflib
import hashlib
import pickle
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.boolean_replacer import AddNot
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


class _Negated(AddNot):  # type: ignore[misc]
    """Puts a condition that assigns a name in parentheses: ``not x := y`` is no Python."""

    def mutate(self, node: Any, index: int) -> Any:
        """Return the node with its condition negated."""
        place = 1 if isinstance(node, self.NODE_TYPES) else 2
        condition = node.children[place]
        if condition.type != "namedexpr_test":
            return super().mutate(node, index)
        node.children[place] = parso.parse(f" not ({condition.get_code(include_prefix=False)})")
        return node


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    :ivar name: a digest of module, lines and operator, that stays while the lines around it change; where
        several lines of a module read alike, their number follows from the second on.
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
    return {**ours, "core/AddNot": _Negated(), "sql/SwapInSql": SwapInSql(), "sql/DropFact": DropFact()}


def mutants(target: Target, engine: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module, in a fixed order; two that say the same are one.

    :param engine: the folder of ``enerflo_sync``.
    """
    code = (engine / target.module).read_text()
    tree = get_ast(code)
    # Parsing takes ten times as long as reading this.
    sys.setrecursionlimit(max(20_000, sys.getrecursionlimit()))
    parsed = pickle.dumps(tree)
    seen, names = {_meaning(code)}, Counter[str]()
    for name, operator in operators().items():
        places = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence in range(len(places)):
            changed = MutationVisitor(occurrence, operator).walk(pickle.loads(parsed)).get_code()  # noqa: S301
            if (meaning := _meaning(changed)) in seen:
                continue
            seen.add(meaning)
            line, diff = _difference(code, changed)
            if "frozen=True" in diff:
                # Whether somebody could change a value that nobody changes decides nothing.
                continue
            digest = hashlib.sha256(f"{target.module}\n{name}\n{diff}".encode()).hexdigest()[:12]
            names[digest] += 1
            number = f"-{names[digest]}" if names[digest] > 1 else ""
            yield Mutant(target, f"{digest}{number}", name, line, changed, diff)


class _Plain(ast.NodeTransformer):
    """Writes ``not a == b`` as ``a != b``, and ``not not a`` as ``a``."""

    _OTHER: ClassVar = {
        **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
        **{ast.In: ast.NotIn, ast.NotIn: ast.In},
    }

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """Return the node without its ``not``, where that can be said otherwise."""
        inner = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
                return inner.operand
            if isinstance(inner, ast.Compare) and len(inner.ops) == 1 and type(inner.ops[0]) in self._OTHER:
                inner.ops = [self._OTHER[type(inner.ops[0])]()]
                return inner
        node.operand = inner
        return node


def _meaning(code: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(code)))


def _difference(code: str, changed: str) -> tuple[int, str]:
    """Return the first line that differs, and the differing lines as a patch shows them."""
    before, after = code.splitlines(), changed.splitlines()
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    diff = "\n".join(line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@")
    return next(n for n, pair in enumerate(zip(before, after, strict=False), 1) if pair[0] != pair[1]), diff


def sample(found: list[Mutant], number: int | None, seed: int) -> list[Mutant]:
    """Return ``number`` of the mutants, drawn by a seed; all where None."""
    if number is None or number >= len(found):
        return found
    return random.Random(seed).sample(found, number)
