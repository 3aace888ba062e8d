"""Planted defects of a CRM that is a copy: rows that go at once, older versions, changes that are handed over."""

from __future__ import annotations

from dataclasses import replace
from string import Template
from typing import Any

import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.agreed import copy_look
from enerflo_sync.apply import crm_statements
from enerflo_sync.plan import make as plan_of_sync
from enerflo_sync.reconcile import levels
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, Plant
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble


def gone_rows_concluded_from(patch: pytest.MonkeyPatch) -> None:
    """A plan decides about records whose rows went at once as about all others."""
    patch.setattr(plan_of_sync, "leave_gone", lambda *_: None)


def gone_at_once_by_one_look(patch: pytest.MonkeyPatch) -> None:
    """A table's new size is believed with the second look that finds it, however soon that comes."""
    judge = levels.next_level

    def at_the_second_look(before: levels.Level | None, *args: object) -> levels.Level:
        level = judge(before, *args)  # type: ignore[arg-type]
        if before is not None and before.in_doubt and before.held == level.rows:
            return levels.Level(level.signature, level.rows, level.rows, level.believed_at)
        return level

    patch.setattr(levels, "next_level", at_the_second_look)


def old_versions_written(patch: pytest.MonkeyPatch) -> None:
    """A value goes into every row of a key that says what the plan saw, also into older versions."""
    condition = crm_statements.update_condition

    def everywhere(comparison: Any, column: str) -> str:
        counts, whole = f" and {comparison.counts('t')} and", condition(comparison, column)
        assert counts in whole
        return whole.replace(counts, " and")

    patch.setattr(crm_statements, "update_condition", everywhere)


def older_versions_are_twins(patch: pytest.MonkeyPatch) -> None:
    """Older versions of a row make it one of several rows of its key."""
    patch.setattr(crm_statements, "alone_of_key", _alone_of_all)


def _alone_of_all(plan: object) -> str:
    mapping = plan.mapping  # type: ignore[attr-defined]
    same = " and ".join(f'u."{name}" = t."{name}"' for name in mapping.key_columns)
    return f" and (select count(*) from {plan.crm} u where {same}) = 1"  # type: ignore[attr-defined]


def acknowledged_is_arrived(patch: pytest.MonkeyPatch) -> None:
    """What a tool acknowledged counts as arrived, whatever the copy shows."""
    template = copy_look._LOOK.template
    hasty = template.replace("when o.shows then", "when o.shows or o.acknowledged_at is not null then")
    assert hasty != template
    patch.setattr(copy_look, "_LOOK", Template(hasty))


def older_change_is_an_edit(patch: pytest.MonkeyPatch) -> None:
    """A change whose place a later one took is not looked for any more: what comes of it is a person's edit."""
    template = copy_look._LOOK.template
    forgotten = template.replace("when o.shows then", "when o.shows and o.state = 'open' then")
    assert forgotten != template
    patch.setattr(copy_look, "_LOOK", Template(forgotten))


def planned_while_on_its_way(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether a change is on its way already."""
    patch.setattr(plan_of_sync, "keep_on_its_way", lambda *_: None)


_HANDED_OVER = replace(
    BOTH_WAYS,
    tick=10,
    events=2.0,
    kinds=(ChangeKind.STATUS_CHANGED, ChangeKind.MILESTONE_CHANGED),
    edits=0.5,
    edit_kinds=(Edit.STATUS, Edit.MILESTONE),
    shape=Shape(copied=True),
    troubles={Trouble.HANDED_OVER: 1.0},
)
_RESYNCED = replace(
    BOTH_WAYS,
    installs=5,
    tick=15,
    shape=Shape(marks=True, numbered=True),
    troubles={Trouble.RESYNCED: 1.0},
)
_VERSIONED: Plan = replace(
    BOTH_WAYS,
    installs=4,
    tick=15,
    events=1.0,
    edits=4.0,
    edit_kinds=(Edit.STATUS, Edit.MILESTONE, Edit.NOT_THEIRS),
    shape=Shape(marks=True, numbered=True, versions=True, unique=False),
    troubles={Trouble.OLD_VERSIONS: 1.0},
)
OF_COPIES: tuple[tuple[Plant, Plan, int], ...] = (
    (gone_rows_concluded_from, _RESYNCED, 50),
    (gone_at_once_by_one_look, _RESYNCED, 50),
    (old_versions_written, _VERSIONED, 50),
    (older_versions_are_twins, _VERSIONED, 50),
    (acknowledged_is_arrived, _HANDED_OVER, 50),
    (older_change_is_an_edit, _HANDED_OVER, 50),
    (planned_while_on_its_way, _HANDED_OVER, 50),
)
