"""Normalise texts of change orders and installs for comparison: case-folded, single blanks."""

from __future__ import annotations


def folded_sql(text: str) -> str:
    """Return the SQL for a text normalised for comparison."""
    return f"lower(regexp_replace(btrim({text}), '\\s+', ' ', 'g'))"


def alike_sql(one: str, two: str) -> str:
    """Return the SQL condition that two normalised texts are equal; null if one of them is null."""
    # Compare the raw texts first: folding costs far more than comparing, and most texts are spelled alike. A
    # text beside null is not folded either.
    folded = f"{folded_sql(one)} = {folded_sql(two)}"
    return f"(case when {one} = {two} then true when {one} <> {two} then {folded} end)"
