"""The declared suite: the checks, their limits, and the consequence of failing.

A data team edits ``include/config/change_orders.yaml``; the columns and kinds of rules are code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from enerflo_sync.crm.config import StatusNames
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import InvalidConfigurationError, Problem, listed, nearest
from enerflo_sync.crm.source import Source
from enerflo_sync.quality.columns import COLUMNS, ColumnKind
from enerflo_sync.quality.declared import Declared

SUITE_FILE = Declared("suite", "change_orders.yaml", "ENERFLO_CHANGE_ORDERS")
_CHECK_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Incremented when a release derives a fact differently, so that its first run checks everything again.
FACTS_VERSION = 1

_Lax = Field(strict=False)
_Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]


class Severity(StrEnum):
    """The consequence of a failing check: hold the order back from the CRM, or only show it."""

    HOLD = "hold"
    WARN = "warn"


class CheckOptions(Options):
    """One check: a column of the facts, one rule for it, and wording."""

    sentence: str = Field(description="What holds for an order that passes.", min_length=1)
    severity: Annotated[Severity, _Lax] = Field(description="hold or warn.")
    reason: str = Field(description="What is wrong with an order that fails it.", min_length=1)
    todo: str = Field("", description="What a person does about it.")
    column: str = Field(description="The fact that is looked at.")
    present: bool | None = Field(None, description="true: it must have a value; false: it must have none.")
    is_: bool | None = Field(None, alias="is", description="Which of yes and no it must be.")
    one_of: list[str] | None = Field(None, description="The texts that it may be.", min_length=1)
    none_of: list[str] | None = Field(None, description="Texts that it may not be.", min_length=1)
    matches: str | None = Field(None, description="The regular expression that it must contain.")
    at_least: _Number | None = Field(None, description="The lowest number that it may be.")
    above: _Number | None = Field(None, description="The number that it must be above.")
    at_most: _Number | None = Field(None, description="The highest number that it may be.")
    below: _Number | None = Field(None, description="The number that it must be below.")
    found: str | None = Field(None, description="The fact that is shown as found; the column unless given.")
    expected: str | None = Field(None, description="The fact that is shown as expected, instead of the rule.")

    @property
    def shown(self) -> str:
        """Return the column whose value is shown as found."""
        return self.found or self.column

    @property
    def rules(self) -> list[str]:
        """Return the names of the given rules; a range counts as one."""
        given = [name for name in ("present", "is_", "one_of", "none_of", "matches") if self._has(name)]
        return [name.strip("_") for name in given] + (["range"] if self.is_range else [])

    @property
    def is_range(self) -> bool:
        """Return whether the rule is a range of numbers."""
        return any(self._has(name) for name in ("at_least", "above", "at_most", "below"))

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None


class Product(Options):
    """One panel type that the company sells."""

    name: str = Field(description="Manufacturer and model, as Enerflo shows them.", min_length=1)
    watts: _Number | None = Field(None, gt=0, description="Rated power of one module.")


class StatusKinds(Options):
    """The meaning of Enerflo's status words for change orders, case-insensitive."""

    signed: list[str] = Field(["complete"], description="Signed and in force.")
    override: list[str] = Field(["override"], description="In force without a signature.")
    pending: list[str] = Field(["pending"], description="Not signed yet.")
    voided: list[str] = Field(["voided"], description="Without effect.")

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each word with its kind."""
        for kind in type(self).model_fields:
            for word in getattr(self, kind):
                yield word.strip().lower(), kind


class Suite(Options):
    """The whole of change_orders.yaml."""

    version: Literal[1] = Field(1, description="The version of this file's form; 1 without it.")
    statuses: StatusKinds = Field(
        default_factory=lambda: StatusKinds.model_validate({}), description="What a status means."
    )
    products: list[Product] = Field([], description="Panel types that are known before any install has them.")
    adders: list[str | int] = Field([], description="Adder ids that are known before any order has them.")
    checks: dict[str, CheckOptions] = Field(description="The checks, by id.", min_length=1)

    _file: Path = PrivateAttr(Path(SUITE_FILE.name))

    @property
    def file(self) -> Path:
        """Return the path from which the suite was read."""
        return self._file

    @property
    def holding(self) -> list[str]:
        """Return the ids of the checks that hold an order back."""
        return [name for name, check in self.checks.items() if check.severity is Severity.HOLD]

    def hash(self, statuses: StatusNames) -> str:
        """Return the sha-256 of what decides whether an order passes; wording does not change it.

        :param statuses: decides which installs are voided.
        """
        words = {"sentence", "reason", "todo"}
        content: dict[str, Any] = {
            "facts": FACTS_VERSION,
            "statuses": self.statuses.model_dump(),
            "voided": statuses.voided,
            "products": [product.model_dump() for product in self.products],
            "adders": [str(adder) for adder in self.adders],
            "checks": {
                name: check.model_dump(mode="json", exclude=words) for name, check in self.checks.items()
            },
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_suite(path: Path, environ: Mapping[str, str]) -> Suite:
    """Return the suite in ``path``.

    :raises ConfigurationError: the file cannot be read or has mistakes; an
        :class:`InvalidConfigurationError` then lists all of them with file, line, found, expected and the
        nearest valid name.
    """
    suite, source, problems = SUITE_FILE.read(path, environ, Suite)
    for name, check in suite.checks.items():
        problems += _check_problems(source, name, check)
    problems += _status_problems(source, suite.statuses)
    if problems:
        raise InvalidConfigurationError(path, problems)
    suite._file = path
    return suite


def _check_problems(source: Source, name: str, check: CheckOptions) -> Iterator[Problem]:
    place = ("checks", name)
    if not _CHECK_ID.fullmatch(name):
        yield source.problem(place, f"the id {name[:40]}", "lower-case letters, digits and _, a letter first")
    for option in ("column", "found", "expected"):
        column = getattr(check, option)
        if column is not None and column not in COLUMNS:
            found = f"the unknown column {column[:40]}"
            yield source.problem((*place, option), found, listed(COLUMNS), nearest(column, COLUMNS))
    if len(check.rules) != 1:
        found = f"{len(check.rules)} rules ({', '.join(check.rules)})" if check.rules else "no rule"
        yield source.problem(place, found, "one of present, is, one_of, none_of, matches or a range")
    elif check.column in COLUMNS:
        yield from _fit_problems(source, (*place, "column"), check)
    yield from _range_problems(source, place, check)
    if check.matches is not None:
        try:
            re.compile(check.matches)
        except re.error as error:
            yield source.problem((*place, "matches"), f"'{check.matches[:60]}'", f"a pattern ({error.msg})")


_FITS = {"is": ColumnKind.YES_NO, "one_of": ColumnKind.TEXT, "none_of": ColumnKind.TEXT} | {
    "matches": ColumnKind.TEXT,
    "range": ColumnKind.NUMBER,
}


def _fit_problems(source: Source, place: tuple[str, ...], check: CheckOptions) -> Iterator[Problem]:
    wanted, kind = _FITS.get(check.rules[0]), COLUMNS[check.column].kind
    if wanted is not None and wanted is not kind:
        fitting = [name for name, column in COLUMNS.items() if column.kind is wanted]
        found = f"{check.column}, which is a {kind}, with the rule {check.rules[0]}"
        yield source.problem(place, found, f"a {wanted}: {listed(fitting)}")


def _range_problems(source: Source, place: tuple[str, ...], check: CheckOptions) -> Iterator[Problem]:
    for one, other in (("at_least", "above"), ("at_most", "below")):
        if getattr(check, one) is not None and getattr(check, other) is not None:
            yield source.problem((*place, other), f"{other} beside {one}", "one of the two")
    low, low_name = (check.at_least, "at_least") if check.at_least is not None else (check.above, "above")
    high = check.at_most if check.at_most is not None else check.below
    strict = check.above is not None or check.below is not None
    if low is not None and high is not None and (low > high or (strict and low == high)):
        found = f"a range the wrong way round ({low:g} to {high:g})"
        yield source.problem((*place, low_name), found, "a lower end below the upper one")


def _status_problems(source: Source, statuses: StatusKinds) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for word, kind in statuses.items():
        if seen.setdefault(word, kind) != kind:
            found = f"'{word}', which is {seen[word]} as well"
            yield source.problem(("statuses", kind), found, "each status under one kind")


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors; committed beside it."""
    schema = Suite.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
