"""Mutations of SQL and of decision rules, which stand in strings: operators for cosmic-ray.

Most decisions of the engine are made by PostgreSQL, and cosmic-ray's own operators see only Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Example, Operator

# What tells SQL from a sentence. A string that is only a name or a message has none of these.
_SQL = re.compile(
    r"\b(select|insert into|delete from|update \w+|where|distinct from|exists\s*\(|is (not )?null|case when"
    r"|coalesce\s*\(|bool_or\s*\(|order by)\b|::|\bexcluded\.|\w\.\w+ (=|<>|<|>|<=|>=) "
)
# A conjunction of facts (crm/decision.py): "newest and base_known and not crm_moved".
_RULE = re.compile(r"[\"'](?:not )?[a-z_]+(?: and (?:not )?[a-z_]+)*[\"']")

# ``set a = 1, b = 2`` assigns: there the sign is no comparison.
_ASSIGNED = re.compile(r"(?:\bset|,)\s+\w+ $")

_SQL_SWAPS: tuple[tuple[str, str], ...] = (
    (r"\bis distinct from\b", "is not distinct from"),
    (r"\bis not distinct from\b", "is distinct from"),
    (r"\bis null\b", "is not null"),
    (r"\bis not null\b", "is null"),
    (r"\bnot exists\b", "exists"),
    (r"(?<!not )\bexists(?=\s*\()", "not exists"),
    (r"\band\b(?! not exists)", "or"),
    (r"\bor\b(?! replace)", "and"),
    (r"\bnot (?!null|exists|distinct|in\b|matched)", ""),
    (r"(?<= )>=(?= )", ">"),
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )>(?= )", ">="),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )<>(?= )", "="),
    (r"(?<= )=(?= )", "<>"),
    (r"\bgreatest\b", "least"),
    (r"\bleast\b", "greatest"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bbool_or\(", "bool_and("),
    (r"\bleft join\b", "join"),
)


def _is_code(node: Any) -> bool:
    """Return whether a leaf is a string or a piece of one, and no docstring."""
    if node.type not in {"string", "fstring_string"}:
        return False
    return not (node.type == "string" and node.parent is not None and node.parent.type == "simple_stmt")


class _InStrings(Operator):  # type: ignore[misc]
    """Replaces one match within one string."""

    def places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield where a string changes, and to what."""
        raise NotImplementedError

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yield the leaf's place once for each change of it."""
        if _is_code(node):
            for _ in self.places(node.value):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the leaf with its change number ``index`` made."""
        start, end, text = list(self.places(node.value))[index]
        node.value = node.value[:start] + text + node.value[end:]
        return node


class SwapInSql(_InStrings):
    """Turns a comparison, a connective or a quantifier of SQL into its neighbour."""

    def places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield each word that is swapped; comments and string literals of SQL are left alone."""
        if not _SQL.search(text):
            return
        quiet = [match.span() for match in re.finditer(r"/\*.*?\*/|'[^']*'", text[1:-1], re.DOTALL)]
        for pattern, instead in _SQL_SWAPS:
            for match in re.finditer(pattern, text):
                if instead == "<>" and _ASSIGNED.search(text[: match.start()]):
                    continue
                if not any(start < match.start() <= end for start, end in quiet):
                    yield match.start(), match.end(), instead

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what one swap looks like."""
        return (
            Example('x = "select 1 where a.b >= 1"', 'x = "select 1 where a.b > 1"'),
            Example('x = "a.b is null and c.d is null"', 'x = "a.b is not null and c.d is null"'),
        )


class DropFact(_InStrings):
    """Leaves one fact out of a rule, or turns it round."""

    def places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield each fact left out, and each turned round."""
        if not _RULE.fullmatch(text) or " and " not in text:
            return
        quote, terms = text[0], text[1:-1].split(" and ")
        for number, term in enumerate(terms):
            rest = [*terms[:number], *terms[number + 1 :]]
            yield 0, len(text), f"{quote}{' and '.join(rest)}{quote}"
            other = term.removeprefix("not ") if term.startswith("not ") else f"not {term}"
            turned = [*terms[:number], other, *terms[number + 1 :]]
            yield 0, len(text), f"{quote}{' and '.join(turned)}{quote}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return what one change of a rule looks like."""
        return (
            Example('x = "review and base_known"', 'x = "base_known"'),
            Example('x = "review and base_known"', 'x = "not review and base_known"', occurrence=1),
        )
