"""Planted defects of what a key that is rotated, or does not see everything, is taken for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from enerflo_sandbox.emitter import Mess
from enerflo_sync.apply.enerflo import push_run as push_run
from enerflo_sync.apply.enerflo.attempt import Attempt, CallOutcome, attempted
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.pages import Page, PageWalk, StopReason
from enerflo_sync.inbox import hydrate
from enerflo_sync.mirror.sweep import Sweep
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, BUSY, NOTES_ONLY, Plant
from tests.simulation.troubles import Trouble


def totals_counted(patch: pytest.MonkeyPatch) -> None:
    """A list that has as many records as the mirror is believed, whichever they are."""
    patch.setattr(Sweep, "_check_missing", lambda *_: None)


def old_key_ends_the_list(patch: pytest.MonkeyPatch) -> None:
    """A list whose next page is refused to an old key counts as read to its end."""
    walk = PageWalk._walk

    def to_its_end(self: Any) -> Iterator[Page]:
        try:
            yield from walk(self)
        except AuthenticationError:
            self.complete, self.stop_reason = True, StopReason.LAST_PAGE

    patch.setattr(PageWalk, "_walk", to_its_end)


def old_key_refuses_the_record(patch: pytest.MonkeyPatch) -> None:
    """An event whose record an old key may not read is put aside for good."""
    serve = hydrate.Hydration._serve

    def refusing(self: Any, need: Any, pending: Any) -> None:
        try:
            serve(self, need, pending)
        except AuthenticationError as error:
            self._refused(need, pending, error)

    patch.setattr(hydrate.Hydration, "_serve", refusing)


def old_key_refuses_the_change(patch: pytest.MonkeyPatch) -> None:
    """A request with an old key counts as one whose change Enerflo refuses."""

    def any_refusal(write: Any, refusals: Any) -> Attempt:
        try:
            return attempted(write, refusals)
        except AuthenticationError:
            return Attempt(CallOutcome.REFUSED, "Enerflo refused the request (401).")

    patch.setattr(push_run, "attempted", any_refusal)


_ROTATED = {Trouble.KEY_ROTATION: 1.0}
OF_ACCESS: tuple[tuple[Plant, Plan, int], ...] = (
    (totals_counted, replace(BUSY, poll_every=1, troubles={Trouble.HALF_SEEN: 1.0}), 20),
    (old_key_ends_the_list, replace(NOTES_ONLY, troubles=_ROTATED), 20),
    (old_key_refuses_the_record, replace(BUSY, troubles=_ROTATED), 20),
    (
        old_key_refuses_the_change,
        replace(
            BOTH_WAYS,
            tick=10,
            events=0.1,
            edits=6.0,
            edit_kinds=(Edit.MILESTONE,),
            poll_every=4,
            ingest_every=9,
            mess=Mess(loss=1.0),
            troubles=_ROTATED,
        ),
        20,
    ),
)
