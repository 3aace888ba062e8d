"""One declared rule in three forms: an SQL condition, an expectation, and words.

The condition finds every failing order. Great Expectations counts them independently, and both must agree.
"""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from typing import Any

from enerflo_sync.crm.names import literal
from enerflo_sync.quality.suite import CheckOptions


def failing_sql(check: CheckOptions, alias: str) -> str:
    """Return the SQL condition that a row of the facts fails a check; never null.

    For use in a statement with parameters: percent signs are doubled.
    """
    column = f"{alias}.{check.column}"
    match check.rules[0]:
        case "present":
            return f"({column} is null)" if check.present else f"({column} is not null)"
        case "is":
            return f"coalesce({'not ' if check.is_ else ''}{column}, false)"
        case "one_of":
            return f"coalesce({column} not in ({_texts(check.one_of)}), false)"
        case "none_of":
            return f"coalesce({column} in ({_texts(check.none_of)}), false)"
        case "matches":
            return f"coalesce({column} !~ {literal(check.matches or '')}, false)"
        case _:
            ends = (("at_least", "<"), ("above", "<="), ("at_most", ">"), ("below", ">="))
            beyond = [
                f"{column} {sign} {_number(getattr(check, name))}"
                for name, sign in ends
                if getattr(check, name) is not None
            ]
            return f"coalesce({' or '.join(beyond)}, false)"


def expectation(name: str, check: CheckOptions) -> Any:
    """Return the check as an expectation of Great Expectations; imports that library."""
    gx: Any = import_module("great_expectations.expectations")
    common: dict[str, Any] = {
        "column": check.column,
        "meta": {"check": name, "severity": str(check.severity), "sentence": check.sentence},
    }
    match check.rules[0]:
        case "present":
            kind = gx.ExpectColumnValuesToNotBeNull if check.present else gx.ExpectColumnValuesToBeNull
            return kind(**common)
        case "is":
            return gx.ExpectColumnValuesToBeInSet(value_set=[check.is_], **common)
        case "one_of":
            return gx.ExpectColumnValuesToBeInSet(value_set=check.one_of, **common)
        case "none_of":
            return gx.ExpectColumnValuesToNotBeInSet(value_set=check.none_of, **common)
        case "matches":
            return gx.ExpectColumnValuesToMatchRegex(regex=check.matches or "", **common)
        case _:
            return gx.ExpectColumnValuesToBeBetween(
                min_value=check.at_least if check.above is None else check.above,
                max_value=check.at_most if check.below is None else check.below,
                strict_min=check.above is not None,
                strict_max=check.below is not None,
                **common,
            )


def expected_words(check: CheckOptions) -> str:
    """Return the rule's requirement in words."""
    match check.rules[0]:
        case "present":
            return "a value" if check.present else "nothing"
        case "is":
            return "yes" if check.is_ else "no"
        case "one_of":
            return " or ".join(check.one_of or ())
        case "none_of":
            return f"anything but {', '.join(check.none_of or ())}"
        case "matches":
            return f"the form {check.matches}"
        case _:
            ends = (("at_least", "at least"), ("above", "above"), ("at_most", "at most"), ("below", "below"))
            words = [
                f"{said} {getattr(check, name):,g}" for name, said in ends if getattr(check, name) is not None
            ]
            return " and ".join(words)


def _texts(values: list[str] | None) -> str:
    return ", ".join(literal(value) for value in values or ())


def _number(value: float) -> str:
    return f"{Decimal(repr(value)):f}"
