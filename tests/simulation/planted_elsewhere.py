"""Planted defects of a CRM whose tables are in a database of their own, or at Salesforce."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.copies.remote_writes import RemoteWriter
from enerflo_sync.copies.salesforce.session import SalesforceSession
from tests.simulation.people import Edit
from tests.simulation.plan import Plan
from tests.simulation.planted import BOTH_WAYS, Plant
from tests.simulation.shapes import Shape
from tests.simulation.troubles import Trouble


def written_whatever_it_says(patch: pytest.MonkeyPatch) -> None:
    """A row is written there although it is another one than its copy by now."""
    update = RemoteWriter._update

    def unconditionally(self: RemoteWriter, write: RowWrite) -> str:
        whole, condition = update(self, write), f"{self._remote.row_hash} = :row_hash"
        assert condition in whole
        return whole.replace(condition, "cast(:row_hash as bigint) is not null")

    patch.setattr(RemoteWriter, "_update", unconditionally)


def sent_as_copied(patch: pytest.MonkeyPatch) -> None:
    """What goes to Enerflo is what the copy says, which was made when the apply began."""
    patch.setattr(FreshRows, "read", lambda *_: None)


def set_whatever_was_modified(patch: pytest.MonkeyPatch) -> None:
    """A record at Salesforce is changed although somebody modified it since it was read."""
    send = SalesforceSession.send

    def unconditionally(
        self: SalesforceSession, method: str, path: str, body: Any = None, headers: Any = None
    ) -> Any:
        return send(self, method, path, body, None if method == "PATCH" else headers)

    patch.setattr(SalesforceSession, "send", unconditionally)


_BOTH_HAVE = (ChangeKind.STATUS_CHANGED, ChangeKind.MILESTONE_CHANGED)
_MEDDLED = replace(
    BOTH_WAYS,
    tick=10,
    shape=Shape(elsewhere=True),
    troubles={Trouble.ELSEWHERE: 1.0, Trouble.MEDDLING: 1.0},
)
_AT_SALESFORCE = replace(
    _MEDDLED,
    shape=Shape(copied=True, salesforce=True),
    troubles={Trouble.SALESFORCE: 0.3, Trouble.MEDDLING: 1.0},
)
OF_ELSEWHERE: tuple[tuple[Plant, Plan, int], ...] = (
    (written_whatever_it_says, replace(_MEDDLED, events=2.0, kinds=_BOTH_HAVE, edits=0.3), 50),
    (set_whatever_was_modified, replace(_AT_SALESFORCE, events=2.0, kinds=_BOTH_HAVE, edits=0.3), 50),
    (sent_as_copied, replace(_MEDDLED, edits=4.0, edit_kinds=(Edit.NOTE, Edit.LEAD, Edit.NEW_LEAD)), 50),
)
