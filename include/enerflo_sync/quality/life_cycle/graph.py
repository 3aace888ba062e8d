"""The declared life cycle: an install's steps, their order, and the maximum duration of each.

A data team edits ``include/config/life_cycle.yaml``; the checks are code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from enerflo_sync.crm.config import StatusNames
from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import InvalidConfigurationError, Problem, listed, nearest
from enerflo_sync.crm.source import Source
from enerflo_sync.quality.declared import Declared
from enerflo_sync.quality.life_cycle.ways import MOST_WAYS, TangledError, levels, ways
from enerflo_sync.quality.suite import Severity

LIFE_CYCLE_FILE = Declared("life-cycle", "life_cycle.yaml", "ENERFLO_LIFE_CYCLE")
# Each step is one bit of a bigint.
MOST_STEPS = 60
_STEP = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Incremented when a release judges differently, so that its first run judges every install again.
JUDGEMENT_VERSION = 1

_Lax = Field(strict=False)


class CheckId(StrEnum):
    """Kinds of violations, in the order of reports."""

    OUT_OF_ORDER = "step_out_of_order"
    SKIPPED = "step_skipped"
    REOPENED = "step_reopened"
    BEFORE_START = "completed_before_started"
    OVERDUE = "step_overdue"
    LATE = "step_completed_late"


class StepOptions(Options):
    """One step of the life cycle."""

    titles: list[str] = Field(description="Titles of the milestones that mean it.", min_length=1)
    after: list[str] = Field([], description="Steps that must be completed before it is.")
    may_skip: bool = Field(False, description="Later steps may be completed without it.")
    may_reopen: bool = Field(False, description="It may be opened again after it was completed.")
    within_days: Annotated[float, Field(strict=False, ge=0, le=3650)] | None = Field(
        None, description="How many days it may take; no limit where it is not given."
    )


class HistoryCheck(Options):
    """The wording for one kind of violation."""

    sentence: str = Field(description="What holds for an install that passes.", min_length=1)
    severity: Annotated[Severity, _Lax] = Field(Severity.WARN, description="warn: it is shown.")
    reason: str = Field(description="What is wrong with an install that fails it.", min_length=1)
    todo: str = Field("", description="What a person does about it.")


class LifeCycle(Options):
    """The whole of life_cycle.yaml."""

    version: Literal[1] = Field(1, description="The version of this file's form; 1 without it.")
    tolerance_hours: Annotated[float, Field(strict=False, ge=0, le=24 * 366)] = Field(
        24, description="Times that lie closer together have no order."
    )
    paused: list[str | int] = Field([], description="Statuses in which no limit runs, by name or id.")
    steps: dict[str, StepOptions] = Field(description="The steps, by name.", min_length=1)
    checks: dict[Annotated[CheckId, _Lax], HistoryCheck] = Field(
        description="What is looked for; a check that is not here is not made.", min_length=1
    )

    _file: Path = PrivateAttr(Path(LIFE_CYCLE_FILE.name))

    @property
    def file(self) -> Path:
        """Return the path from which the life cycle was read."""
        return self._file

    @cached_property
    def after(self) -> Mapping[str, list[str]]:
        """Return, per step, the steps that must be completed before it."""
        return {name: step.after for name, step in self.steps.items()}

    def hash(self, statuses: StatusNames) -> str:
        """Return the sha-256 of what decides whether a history is valid; wording does not change it.

        :param statuses: decides which installs are voided and completed.
        """
        content = {
            "judgement": JUDGEMENT_VERSION,
            "statuses": statuses.model_dump(mode="json"),
            "life_cycle": self.model_dump(mode="json", exclude={"checks"}),
            "checks": {name: str(check.severity) for name, check in self.checks.items()},
        }
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def folded(title: str) -> str:
    """Return a title normalised for comparison: case-folded, with single blanks."""
    return " ".join(title.lower().split())


def load_life_cycle(path: Path, environ: Mapping[str, str]) -> LifeCycle:
    """Return the life cycle in ``path``.

    :raises ConfigurationError: the file cannot be read or has mistakes; an
        :class:`InvalidConfigurationError` then lists all of them with file, line, found, expected and the
        nearest valid name.
    """
    life_cycle, source, problems = LIFE_CYCLE_FILE.read(path, environ, LifeCycle)
    problems += _step_problems(source, life_cycle)
    problems += _title_problems(source, life_cycle)
    problems += _edge_problems(source, life_cycle)
    for name, check in life_cycle.checks.items():
        if check.severity is not Severity.WARN:
            expected = "warn: a finding of the life-cycle holds nothing back"
            problems.append(source.problem(("checks", name, "severity"), str(check.severity), expected))
    if not problems:
        problems += _way_problems(source, life_cycle)
    if problems:
        raise InvalidConfigurationError(path, problems)
    life_cycle._file = path
    return life_cycle


def _step_problems(source: Source, life_cycle: LifeCycle) -> Iterator[Problem]:
    for name in life_cycle.steps:
        if not _STEP.fullmatch(name):
            expected = "lower-case letters, digits and _, a letter first"
            yield source.problem(("steps", name), f"the name {name[:40]}", expected)
    if len(life_cycle.steps) > MOST_STEPS:
        yield source.problem(("steps",), f"{len(life_cycle.steps)} steps", f"at most {MOST_STEPS}")


def _title_problems(source: Source, life_cycle: LifeCycle) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, step in life_cycle.steps.items():
        for at, title in enumerate(step.titles):
            place = ("steps", name, "titles", str(at))
            if not folded(title):
                yield source.problem(place, "an empty title", "the title of a milestone")
            elif (other := seen.setdefault(folded(title), name)) != name:
                yield source.problem(
                    place, f"'{title[:60]}', which means {other} as well", "one step a title"
                )


def _edge_problems(source: Source, life_cycle: LifeCycle) -> Iterator[Problem]:
    steps = life_cycle.steps
    by_title = {folded(title): name for name, step in steps.items() for title in step.titles}
    for name, step in steps.items():
        for at, before in enumerate(step.after):
            place = ("steps", name, "after", str(at))
            if before == name:
                yield source.problem(place, "an edge of the step to itself", "another step")
            elif before not in steps:
                meant = by_title.get(folded(before)) or nearest(before, steps)
                yield source.problem(place, f"the unknown step {before[:40]}", listed(steps), meant)
    known = {
        name: [before for before in step.after if before in steps and before != name]
        for name, step in steps.items()
    }
    for name in steps.keys() - levels(known).keys():
        waits = ", ".join(before for before in known[name] if before not in levels(known))
        expected = "a way to it from a step without after"
        yield source.problem(("steps", name, "after"), f"a step that waits for itself ({waits})", expected)


def _way_problems(source: Source, life_cycle: LifeCycle) -> Iterator[Problem]:
    try:
        ways(life_cycle.after)
    except TangledError:
        expected = "fewer edges: one that follows from others can go"
        yield source.problem(("steps",), f"more than {MOST_WAYS:,} ways through the steps", expected)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors; committed beside it."""
    schema = LifeCycle.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
