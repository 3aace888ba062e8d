"""Defects of the engine, planted one at a time, that the simulation must find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sync.inbox import hydrate, take_in
from enerflo_sync.inbox.pending import mark_applied
from enerflo_sync.mirror import poll
from enerflo_sync.sandbox.changes import ChangeKind
from enerflo_sync.sandbox.emitter import Mess
from enerflo_sync.warehouse import bulk, watermarks
from tests.simulation.plan import Plan

Plant = Callable[[pytest.MonkeyPatch], None]


def archive_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Files leave the drop before their events are stored."""
    commit = take_in.TakeIn.commit

    def moved_first(self: Any, batch: Any) -> Any:
        for move in batch.moves:
            self._drop.move(move.content, move.archive_uri)
        return commit(self, batch)

    patch.setattr(take_in.TakeIn, "commit", moved_first)


def hydration_skipped(patch: pytest.MonkeyPatch) -> None:
    """Events count as applied without a look at their record."""

    def trusting(self: Any, need: Any, pending: Any) -> None:
        with self._connection.begin():
            mark_applied(self._connection, self._account, pending.served(need), self._clock.now())

    patch.setattr(hydrate.Hydration, "_serve", trusting)


def watermark_from_the_end(patch: pytest.MonkeyPatch) -> None:
    """What is written while a poll reads is behind its watermark."""
    move = watermarks.move_watermark

    def too_far(connection: Any, account: str, name: str, value: Any, *, run_id: str, now: Any) -> None:
        move(connection, account, name, now, run_id=run_id, now=now)

    patch.setattr(poll, "move_watermark", too_far)


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
    patch.setattr(take_in.TakeIn, "_left", lambda self: ({}, {}))


def older_over_newer(patch: pytest.MonkeyPatch) -> None:
    """Whoever stores last is believed."""
    statement = bulk.merge_statement

    def without_times(*args: Any) -> str:
        return statement(*args).replace("and excluded.observed_at >= t.observed_at", "")

    patch.setattr(bulk, "merge_statement", without_times)


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
# Each with the troubles that bring it to light, and the seeds within which it must be found.
PLANTED: tuple[tuple[Plant, Plan, int], ...] = (
    (archive_before_commit, replace(BUSY, killed=0.5), 20),
    (hydration_skipped, BUSY, 5),
    (watermark_from_the_end, NOTES_ONLY, 20),
    (payload_over_record, LATE_STATUSES, 10),
    (copies_counted_again, replace(BUSY, killed=0.5), 20),
    (older_over_newer, replace(BUSY, poll_every=1, beside=0.1, restless=0.02), 20),
)


@contextlib.contextmanager
def planted(plant: Plant) -> Any:
    """Let the engine have a defect for a while."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        yield
