"""An id that waits for a row of a CRM elsewhere is not written to another row that has its key by then."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.copies.conftest import CRM, Elsewhere
from tests.copies.interrupted import interrupted
from tests.writes.conftest import Desk
from tests.writes.sending import posts
from tests.writes.test_changes import AT_ONCE

pytestmark = pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)


def a_note(desk: Desk, elsewhere: Elsewhere, key: str, body: str) -> None:
    elsewhere.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values (:k, :i, 'Ann', :b, :now)",
        k=key,
        i=desk.a_site().install_id,
        b=body,
        now=elsewhere.given(desk.sql("select now() as now")[0]["now"]),
    )


def link_of(elsewhere: Elsewhere, key: str) -> Any:
    return elsewhere.one("notes", note_id=key)["enerflo_note_id"]


@pytest.mark.parametrize("again", ["the same plan", "the next plan"])
def test_an_id_is_not_written_to_the_note_that_has_the_key_by_now(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    away.switched_on("both", CRM, AT_ONCE)
    away.carried()
    a_note(away, elsewhere, "N1", "Call back")
    plan = away.plan()
    interrupted(away, plan, monkeypatch)
    assert len(posts(away)) == 1
    # An import numbers the notes anew.
    elsewhere.sql("update crm.notes set note_id = 'N9' where note_id = 'N1'")
    a_note(away, elsewhere, "N1", "Wants another inverter")
    if again == "the same plan":
        run_apply(away.context, plan.plan_hash, approved_by="Pat")
    run_poll(away.context)
    for _ in range(2):
        run_apply(away.context, away.plan().plan_hash, approved_by="Pat")
        run_poll(away.context)
    said = {row["note_id"]: row["body"] for row in away.sql("select note_id, body from enerflo.notes")}
    assert said[link_of(elsewhere, "N9")].startswith("Call back")
    assert said[link_of(elsewhere, "N1")].startswith("Wants another inverter")
    assert len(posts(away)) == 2
