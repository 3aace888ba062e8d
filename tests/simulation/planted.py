"""Defects of the engine, planted one at a time, that the simulation must find."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.emitter import Mess
from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.written import shown
from enerflo_sync.apply import apply_plan as apply
from enerflo_sync.apply import crm as apply_crm
from enerflo_sync.apply import crm_statements
from enerflo_sync.apply.enerflo import leads, notes, source
from enerflo_sync.apply.enerflo import push_run as push_run
from enerflo_sync.apply.enerflo.attempt import CallOutcome, attempted
from enerflo_sync.enerflo.pages import PageWalk
from enerflo_sync.inbox import hydrate, load
from enerflo_sync.inbox.pending import mark_applied
from enerflo_sync.mirror import lag, poll
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.outbox import values
from enerflo_sync.plan import decided_plan
from enerflo_sync.plan import make as plan
from enerflo_sync.warehouse import bulk, watermarks
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble

Plant = Callable[[pytest.MonkeyPatch], None]


def archive_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Files leave the drop before their events are stored."""
    commit = load.DropLoader.commit

    def moved_first(self: Any, batch: Any) -> Any:
        for move in batch.moves:
            self._drop.move(move.content, move.archive_uri)
        return commit(self, batch)

    patch.setattr(load.DropLoader, "commit", moved_first)


def hydration_skipped(patch: pytest.MonkeyPatch) -> None:
    """Events count as applied without a look at their record."""

    def trusting(self: Any, need: Any, pending: Any) -> None:
        with self._connection.begin():
            now = self._clock.now()
            mark_applied(self._connection, self._account, pending.served(need), now, now)

    patch.setattr(hydrate.Hydration, "_serve", trusting)


def watermark_from_the_end(patch: pytest.MonkeyPatch) -> None:
    """What is written while a poll reads is behind its watermark."""
    move = watermarks.move_watermark

    def too_far(connection: Any, account: str, name: str, value: Any, *, run_id: str, now: Any) -> None:
        move(connection, account, name, now, run_id=run_id, now=now)

    patch.setattr(poll, "move_watermark", too_far)
    # The newest record that is known hides it, too.
    patch.setattr(poll._Poll, "_known_until", lambda _poll, _resource, watermark: watermark)


def payload_over_record(patch: pytest.MonkeyPatch) -> None:
    """A payload's status is written to the mirror, however old it is."""
    serve = hydrate.Hydration._serve

    def believing(self: Any, need: Any, pending: Any) -> None:
        events = [event.event_id for event in pending.by_need[need]]
        serve(self, need, pending)
        with self._connection.begin():
            bodies = self._connection.execute(
                sa.text("select install_id, body::text from sync.webhook_events where event_id = any(:ids)"),
                {"ids": events},
            ).all()
            for install_id, text in bodies:
                status = msgspec.json.decode(text).get("status")
                if isinstance(status, dict):
                    self._connection.execute(
                        sa.text("update enerflo.installs set status_name = :name where install_id = :id"),
                        {"name": status["name"], "id": install_id},
                    )

    patch.setattr(hydrate.Hydration, "_serve", believing)


def copies_counted_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers which files were taken in before the kill."""
    patch.setattr(load.DropLoader, "_left", lambda self: ({}, {}, set()))


def older_over_newer(patch: pytest.MonkeyPatch) -> None:
    """Whoever stores last is believed."""
    statement = bulk.merge_statement

    def without_times(*args: Any) -> str:
        return re.sub(r"and excluded\.observed_at >= greatest\([^()]*\)", "", statement(*args))

    patch.setattr(bulk, "merge_statement", without_times)


def no_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    """The CRM is written whatever it says by now."""
    condition = crm_statements.update_condition

    def blind(comparison: Any, column: str) -> str:
        says = shown(comparison, column)
        compared = f" and nullif({says}, 'null') is not distinct from nullif(p.before, 'null')"
        whole = condition(comparison, column)
        assert compared in whole
        return whole.replace(compared, "")

    patch.setattr(crm_statements, "update_condition", blind)


def note_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A note whose answer was lost is not looked for: only one that Enerflo accepted is found again."""
    look = notes._Looking.look

    def hasty(self: Any, requests: Any) -> Any:
        sure = [one for one in requests if one.last is not None and one.last.outcome is CallOutcome.ACCEPTED]
        return look(self, sure)

    patch.setattr(notes._Looking, "look", hasty)


def echo_taken_for_a_change(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers what was written, so each side's own spelling of it looks like news."""
    for module in (apply_crm, push_run):
        patch.setattr(module, "agree_written", lambda *_args: None)
    patch.setattr(apply_crm, "column_agreed", lambda *_args: "agreed as (select from made)")
    patch.setattr(apply_crm, "agree_column", lambda *_args: None)


def marked_after_the_request(patch: pytest.MonkeyPatch) -> None:
    """The outbox says that a request is under way when it is over."""

    def late(self: Any, changes: Any, write: Any, refusals: Any, _record: Any = None) -> Any:
        attempt = attempted(lambda: write(changes), refusals)
        with self.connection.begin():
            push_run.mark_sent(self.connection, self.applying, changes, self.clock.now())
        if attempt.outcome is CallOutcome.UNSENT:
            self._unsend(changes)
        return attempt

    patch.setattr(push_run.PushRun, "send", late)


def other_side_agreed_unseen(patch: pytest.MonkeyPatch) -> None:
    """What the other side says since the plan is agreed on with what was written."""
    agree = apply_crm.agree_written

    def trusting(connection: Any, comparison: Any, account: str, plan: str, positions: Any, *_: Any) -> None:
        agree(connection, comparison, account, plan, positions, AgreedBy.UNDO)
        connection.execute(sa.text("update sync.agreed set agreed_by = 'push' where agreed_by = 'undo'"))

    def trusting_column(connection: Any, comparison: Any, column: str, span: Any, values: Any) -> None:
        query = (
            "select position from sync.plan_changes where plan_hash = %(plan_hash)s and field = %(column)s"
            " and position between %(first)s and %(last)s and state = 'applied' and done_at = %(now)s"
        )
        named = {**values, "column": column, "first": span[0], "last": span[1]}
        positions = list(connection.exec_driver_sql(query, named).scalars())
        trusting(connection, comparison, values["account"], values["plan_hash"], positions)

    for module in (apply_crm, push_run):
        patch.setattr(module, "agree_written", trusting)
    # No pair is remembered with its change, so all of them are left to the step after it.
    patch.setattr(apply_crm, "column_agreed", lambda *_args: "agreed as (select from made where false)")
    patch.setattr(apply_crm, "agree_column", trusting_column)


def refusals_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What was refused is in the next plan again."""
    patch.setattr(plan, "keep_out_refused", lambda *_args: None)


def part_is_the_whole(patch: pytest.MonkeyPatch) -> None:
    """Whoever approves a part approves all of the plan."""
    choose = decided_plan.choose

    def all_of_it(*args: Any, **named: Any) -> tuple[list[int], list[int]]:
        chosen, others = choose(*args, **named)
        return sorted([*chosen, *others]), []

    patch.setattr(decided_plan, "choose", all_of_it)


def superseded_is_applied(patch: pytest.MonkeyPatch) -> None:
    """A plan is applied though a later one took its place."""
    for module in (apply, decided_plan):
        patch.setattr(module, "require_not_expired", lambda *_args: None)


def no_second_look(patch: pytest.MonkeyPatch) -> None:
    """The CRM's row is not looked at again before its change is sent."""
    patch.setattr(source.Sources, "moved", lambda *_args, **_named: {})


def exact_spelling(patch: pytest.MonkeyPatch) -> None:
    """An accepted text counts as kept only where Enerflo has it letter by letter."""
    patch.setattr(leads, "is_respelled_field", lambda *_args, **_named: False)
    patch.setattr(notes, "is_alike", lambda sent, found: sent == found)


def days_as_moments(patch: pytest.MonkeyPatch) -> None:
    """Before a date is sent, the day that a plan has and Enerflo's moment are compared as moments."""
    patch.setattr(values, "domain_of", lambda mapping, _column: mapping.type)


def lagging_list_believed(patch: pytest.MonkeyPatch) -> None:
    """A list that is older than a direct read is written over it."""
    patch.setattr(lag.Lag, "holds", lambda *_: False)


def short_page_is_whole(patch: pytest.MonkeyPatch) -> None:
    """A walk over pages that lack rows counts as complete."""
    accept = PageWalk._accept

    def content(self: Any, listing: Any, seconds: float) -> Any:
        stop = accept(self, listing, seconds)
        self.complete = self.complete or stop is not None
        return stop

    patch.setattr(PageWalk, "_ask_again", lambda *_: False)
    patch.setattr(PageWalk, "_accept", content)


def other_company_believed(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whose records an answer holds."""
    patch.setattr(CompanyGuard, "check", lambda *_: None)
    patch.setattr(CompanyGuard, "ensure", lambda *_: None)


BUSY = Plan(installs=8, tick=15, events=2.0, poll_every=4)
# The shortest that the vendor's whole seconds allow.
LOOKBACK = timedelta(seconds=1)
NOTES_ONLY = Plan(
    installs=8,
    poll_every=1,
    ingest_every=9,
    mess=Mess(loss=1.0),
    restless=0.03,
    kinds=(ChangeKind.NOTE_CREATED,),
    notes_lookback=LOOKBACK,
)
LATE_STATUSES = replace(
    BUSY,
    mess=Mess(delay=0.7, longest_delay=timedelta(hours=1)),
    kinds=(ChangeKind.STATUS_CHANGED, ChangeKind.INSTALL_VOIDED, ChangeKind.INSTALL_RESUBMITTED),
)
BOTH_WAYS = Plan(
    installs=3,
    tick=30,
    events=0.3,
    both_ways=True,
    edits=2.0,
    sync_every=1,
    mess=Mess(delay=0.5, longest_delay=timedelta(minutes=30)),
)
CRM_EDITED_MEANWHILE = replace(BOTH_WAYS, installs=2, tick=15, events=0.1, edits=4.0)
BOTH_EDITED_MEANWHILE = replace(
    BOTH_WAYS,
    tick=15,
    events=3.0,
    edits=6.0,
    restless=0.01,
    kinds=(ChangeKind.STATUS_CHANGED,),
    edit_kinds=(Edit.STATUS,),
)
MEDDLED = replace(BOTH_WAYS, edits=4.0, troubles={Trouble.MEDDLING: 1.0})
RESPELLED = replace(
    BOTH_WAYS, edit_kinds=(Edit.NOTE, Edit.NEW_LEAD, Edit.LEAD), troubles={Trouble.RESPELLING: 1.0}
)
BY_DAYS = replace(
    BOTH_WAYS,
    edit_kinds=(Edit.MILESTONE,),
    troubles={Trouble.DAY_COLUMNS: 1.0},
    shape=Shape(dates="date", zone="America/Denver"),
)
LOST_ANSWERS = replace(BOTH_WAYS, late=0.5, edit_kinds=(Edit.NOTE,))
SAYING_NO = replace(BOTH_WAYS, edits=3.0, troubles={Trouble.REFUSALS: 1.0})
ONE_WAY_LAG = replace(
    BUSY, poll_every=1, kinds=LATE_STATUSES.kinds, mess=Mess(), troubles={Trouble.LAGGING_LIST: 1.0}
)
SHORT_PAGES = replace(BUSY, installs=20, per_page=7, poll_every=1, troubles={Trouble.SHORT_PAGES: 1.0})
OTHER_COMPANY = replace(BUSY, poll_every=1, troubles={Trouble.OTHER_COMPANY: 1.0})
# Each with the troubles that bring it to light, and the seeds within which it must be found.
PLANTED: tuple[tuple[Plant, Plan, int], ...] = (
    (archive_before_commit, replace(BUSY, killed=0.5), 20),
    (hydration_skipped, BUSY, 5),
    (watermark_from_the_end, NOTES_ONLY, 20),
    (payload_over_record, LATE_STATUSES, 10),
    (copies_counted_again, replace(BUSY, killed=0.5), 60),
    (older_over_newer, replace(BUSY, poll_every=1, beside=0.1, restless=0.02), 50),
    (no_compare_and_set, replace(CRM_EDITED_MEANWHILE, edit_kinds=(Edit.NOT_THEIRS,)), 10),
    (note_sent_again, LOST_ANSWERS, 5),
    (echo_taken_for_a_change, replace(BOTH_WAYS, edit_kinds=(Edit.NEW_LEAD, Edit.LEAD)), 5),
    (marked_after_the_request, BOTH_WAYS, 5),
    (other_side_agreed_unseen, BOTH_EDITED_MEANWHILE, 40),
    (refusals_forgotten, SAYING_NO, 20),
    (part_is_the_whole, SAYING_NO, 20),
    (superseded_is_applied, SAYING_NO, 20),
    (no_second_look, MEDDLED, 10),
    (exact_spelling, RESPELLED, 10),
    (days_as_moments, BY_DAYS, 10),
    (lagging_list_believed, ONE_WAY_LAG, 20),
    (short_page_is_whole, SHORT_PAGES, 20),
    (other_company_believed, OTHER_COMPANY, 20),
)


@contextlib.contextmanager
def planted(plant: Plant) -> Any:
    """Let the engine have a defect for a while."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        yield
