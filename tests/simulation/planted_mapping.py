"""Planted defects of a mapping that changes while things are on their way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.agreed import arrivals, changed_meanings
from enerflo_sync.apply import apply_plan as apply
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.plan import make as plan_of_sync
from enerflo_sync.reconcile import live
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, Plant
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble


def carried_as_it_was_mapped(patch: pytest.MonkeyPatch) -> None:
    """What was handed over waits on, whatever sync.yaml says of its column by now."""
    for module in (changed_meanings, arrivals):
        patch.setattr(module, "end_mapped_otherwise", lambda *_args, **_named: None)


def applied_as_it_was_mapped(patch: pytest.MonkeyPatch) -> None:
    """A plan is applied though the mapping changed since it was made."""
    allowed, hold_plan = apply._allowed, apply.hold_plan
    patch.setattr(apply, "is_as_it_was_made", lambda *_: True)

    def believing(connection: Any, config: Any, plan: Any, *args: Any) -> Any:
        def as_of_now(*among: Any, **named: Any) -> Any:
            held = hold_plan(*among, **named)
            return msgspec.structs.replace(held, config_hash=config.hash(held.account))

        patch.setattr(apply, "hold_plan", as_of_now)
        return allowed(connection, config, plan, *args)

    patch.setattr(apply, "_allowed", believing)


def names_of_tables_not_followed(patch: pytest.MonkeyPatch) -> None:
    """A table that sync.yaml calls otherwise is a new one."""
    patch.setattr(plan_of_sync, "follow_names", lambda _connection, comparisons, *_: list(comparisons))


def words_of_before_are_a_base(patch: pytest.MonkeyPatch) -> None:
    """What both sides agreed on tells who edited a field, also where its words stand for others by now."""
    with_meanings = live.with_changed_meanings

    def as_before(*args: Any) -> Any:
        return [replace(plan, remeant=frozenset()) for plan in with_meanings(*args)]

    patch.setattr(live, "with_changed_meanings", as_before)
    patch.setattr(changed_meanings, "make_former", lambda *_: None)


def events_of_another_name(patch: pytest.MonkeyPatch) -> None:
    """Files that come while the account has another name are stored under that name."""
    patch.setattr(CompanyGuard, "ensure_no_former_name", lambda _: None)


_STATUSES = (ChangeKind.STATUS_CHANGED,)
_EDITED: Plan = replace(
    BOTH_WAYS,
    installs=4,
    tick=15,
    events=2.0,
    edits=3.0,
    edit_kinds=(Edit.STATUS, Edit.MILESTONE),
    kinds=_STATUSES,
)
_HANDED_OVER = replace(
    _EDITED,
    shape=Shape(copied=True),
    troubles={Trouble.HANDED_OVER: 1.0, Trouble.RELABELLED: 1.0, Trouble.UNMAPPED: 1.0},
)
_DECIDED = replace(
    _EDITED,
    edits=6.0,
    edit_kinds=(Edit.STATUS, Edit.NOT_THEIRS),
    troubles={Trouble.NEW_TRUTHS: 1.0, Trouble.UNMAPPED: 1.0},
)
_REFUSED = replace(_EDITED, troubles={Trouble.REFUSALS: 1.0, Trouble.RENAMED_TABLES: 1.0})
_RELABELLED = replace(
    _EDITED,
    edit_kinds=(Edit.STATUS,),
    shape=Shape(policies={("installs", "status"): "review"}),
    troubles={Trouble.RELABELLED: 1.0},
)
OF_MAPPINGS: tuple[tuple[Plant, Plan, int], ...] = (
    (carried_as_it_was_mapped, _HANDED_OVER, 50),
    (applied_as_it_was_mapped, _DECIDED, 50),
    (names_of_tables_not_followed, _REFUSED, 50),
    (words_of_before_are_a_base, _RELABELLED, 50),
    (events_of_another_name, replace(BOTH_WAYS, troubles={Trouble.OTHER_NAME: 1.0}), 50),
)
