"""Planted defects of what a row, a pair of values and a moment are taken for."""

from __future__ import annotations

from dataclasses import replace
from string import Template
from types import SimpleNamespace
from typing import Any

import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.emitter import Mess
from enerflo_sync.agreed import agree, twins
from enerflo_sync.apply import apply_plan
from enerflo_sync.clock import DatabaseClock
from enerflo_sync.plan import make as plan_of_sync
from enerflo_sync.reconcile import incremental, judge, judged_rows, live
from enerflo_sync.reconcile.compare import Comparison
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, BUSY, Plant
from tests.simulation.shapes import DATES, Shape
from tests.simulation.troubles import Trouble


def base_of_the_key_alone(patch: pytest.MonkeyPatch) -> None:
    """A pair of agreed values is found by the CRM's key, whichever record its row names by now."""
    patch.setattr(Comparison, "of_record", lambda *_: "")


def former_rows_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What both sides agreed on is known by the CRM's key alone, whatever row an import gives the key to."""
    patch.setattr(agree, "keep_former_rows", lambda *_: None)
    patch.setattr(Comparison, "earlier", property(lambda one: one.relatives))


def loads_are_edits(patch: pytest.MonkeyPatch) -> None:
    """What a load of the CRM's table puts back in place of our writes goes to Enerflo as an edit."""
    patch.setattr(judge, "put_back", lambda *_: "false")


def undone_is_made_again(patch: pytest.MonkeyPatch) -> None:
    """What an undo has written counts as written by any plan: the other side then seems to have moved since."""
    patch.setattr(apply_plan, "AgreedBy", SimpleNamespace(UNDO=agree.AgreedBy.PUSH, PUSH=agree.AgreedBy.PUSH))


def edits_of_former_rows_unseen(patch: pytest.MonkeyPatch) -> None:
    """A row that an import numbered anew gets Enerflo's value by its time, although nobody changed it there."""
    patch.setattr(judge, "enerflo_as_before", lambda *_: "false")


def twins_believed(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers that a row was one of two."""
    patch.setattr(
        twins, "_MARK", Template(f"{twins._MARK.template.replace('on conflict', 'where false on conflict')}")
    )


def changes_by_their_own_time(patch: pytest.MonkeyPatch) -> None:
    """CRM rows that changed are looked up by ``updated_at`` alone."""
    compared = live.plan_comparison

    def by_time(*args: object, **names: object) -> Comparison:
        plan = compared(*args, **names)  # type: ignore[arg-type]
        return replace(plan, moved_by=plan.updated_at)

    patch.setattr(live, "plan_comparison", by_time)
    patch.setattr(incremental, "_WRITTEN_SINCE", "false")


def stamped_by_the_worker(patch: pytest.MonkeyPatch) -> None:
    """Times are the worker's own."""
    patch.setattr(DatabaseClock, "now", lambda self: self._worker.now())


def newest_by_first_sight(patch: pytest.MonkeyPatch) -> None:
    """Enerflo's side counts as changed when we saw it."""
    patch.setattr(judged_rows, "changed_in_enerflo", lambda _plan: "o.observed_at")


def unmoved_time_believed(patch: pytest.MonkeyPatch) -> None:
    """A row's time counts as the one of its edit, even if it is that of before."""
    patch.setattr(judge, "left_its_time", lambda _plan: "false")


def marked_rows_live(patch: pytest.MonkeyPatch) -> None:
    """Rows that are marked as deleted are rows like all others."""
    patch.setattr(Comparison, "living", lambda *_: "true")


def refusal_of_one_rule(patch: pytest.MonkeyPatch) -> None:
    """What was refused of a status is let in when a milestone asks for it."""
    complete, keep_out = plan_of_sync.complete_installs, plan_of_sync.keep_out_refused

    def complete_later(connection: Any, plans: Any, config: Any, values: Any) -> None:
        keep_out(connection, plans, values["account"], config.hash(values["account"]))
        complete(connection, plans, config, values)

    patch.setattr(plan_of_sync, "complete_installs", complete_later)
    patch.setattr(plan_of_sync, "keep_out_refused", lambda *_: None)


_REVIEWED = {("installs", "status"): "review", **{("milestones", name): "review" for name in DATES}}
_BUSY = replace(BOTH_WAYS, tick=15, events=1.0, edits=3.0)
# What else is changed hides which side changed one field later.
_CALM = replace(BOTH_WAYS, tick=15, events=0.05, edits=0.2)


def _plan(plan: Plan, shape: Shape, *troubles: Trouble, rate: float = 1.0) -> Plan:
    return replace(plan, shape=shape, troubles=dict.fromkeys(troubles, rate))


# So that little hides what a job does: Enerflo hardly changes, and is polled seldom.
_CRM_ALONE = replace(
    BOTH_WAYS,
    tick=7,
    events=0.05,
    kinds=(ChangeKind.NOTE_CREATED,),
    mess=Mess(loss=1.0),
    poll_every=5,
    ingest_every=12,
)

OF_SIDES: tuple[tuple[Plant, Plan, int], ...] = (
    (newest_by_first_sight, _plan(_CALM, Shape(), Trouble.BOTH_CHANGE), 50),
    (
        unmoved_time_believed,
        _plan(replace(_CALM, tick=7), Shape(), Trouble.BOTH_CHANGE, Trouble.UNMOVED_TIMES, rate=1.6),
        50,
    ),
    (
        marked_rows_live,
        _plan(replace(_BUSY, edit_kinds=(Edit.STATUS, Edit.DELETE)), Shape(marks=True), Trouble.SOFT_DELETED),
        50,
    ),
    (
        base_of_the_key_alone,
        _plan(
            replace(
                _CRM_ALONE,
                installs=6,
                tick=15,
                edits=3.0,
                edit_kinds=(Edit.STATUS,),
                poll_every=1,
                ingest_every=1,
            ),
            Shape(own_keys=True, policies=_REVIEWED),
            Trouble.RELINKS,
            rate=3.0,
        ),
        80,
    ),
    (
        former_rows_forgotten,
        _plan(
            replace(
                _BUSY,
                installs=8,
                tick=10,
                edits=0.3,
                edit_kinds=(Edit.STATUS,),
                kinds=(ChangeKind.STATUS_CHANGED,),
                poll_every=1,
            ),
            Shape(own_keys=True),
            Trouble.RENUMBERED,
            rate=2.0,
        ),
        50,
    ),
    (
        loads_are_edits,
        _plan(
            replace(_BUSY, installs=30, tick=10, kinds=(ChangeKind.STATUS_CHANGED,), poll_every=1),
            Shape(),
            Trouble.RELOADED,
            rate=5.0,
        ),
        50,
    ),
    (
        undone_is_made_again,
        _plan(replace(_BUSY, tick=10, poll_every=1), Shape(), Trouble.UNDONE, rate=2.0),
        50,
    ),
    (
        edits_of_former_rows_unseen,
        _plan(
            replace(
                _BUSY,
                installs=6,
                tick=10,
                events=4.0,
                edit_kinds=(Edit.MILESTONE,),
                kinds=(ChangeKind.STATUS_CHANGED,),
                poll_every=1,
            ),
            Shape(own_keys=True),
            Trouble.RENUMBERED,
            rate=5.0,
        ),
        50,
    ),
    (
        twins_believed,
        _plan(
            replace(_CRM_ALONE, installs=4, edits=0.1, edit_kinds=(Edit.STATUS,)),
            Shape(unique=False),
            Trouble.TWINS,
        ),
        50,
    ),
    (
        changes_by_their_own_time,
        _plan(
            replace(_BUSY, events=0.1, edits=4.0, edit_kinds=(Edit.STATUS, Edit.MILESTONE)),
            Shape(),
            Trouble.LATE_ROWS,
        ),
        50,
    ),
    (stamped_by_the_worker, _plan(replace(BUSY, poll_every=1), Shape(), Trouble.SKEWED_CLOCKS), 50),
    (
        refusal_of_one_rule,
        _plan(
            replace(_CRM_ALONE, installs=4, tick=10, edits=3.0, edit_kinds=(Edit.COMPLETION,), poll_every=3),
            Shape(),
            Trouble.REFUSALS,
            rate=0.5,
        ),
        50,
    ),
)
