"""``explain --as-of``: what is of a later time is not told as what was known then."""

from __future__ import annotations

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_explain import ON_HOLD, apply, edit, install, text, told

__all__ = ["install"]


def test_as_of_takes_no_later_edit_for_what_a_side_said_then(desk: Desk, install: int) -> None:
    before = desk.one("select status from crm.installs where enerflo_install_id = :id", id=install)
    note = desk.one("select min(note_id) from enerflo.notes where deleted_at is null")
    start = desk.one("select clock_timestamp()")
    edit(desk, install, status="On Hold", panel_type="Edited since")
    desk.sql(
        "update enerflo.notes set body = 'Edited since', observed_at = clock_timestamp() where note_id = :n",
        n=note,
    )
    said = text(desk, install, "status", as_of=start)
    assert f'Enerflo says "{before}". The CRM says "On Hold" now, and what it said then is not known.' in said
    assert f'They last agreed on "{before}"' not in said
    assert "They last agreed on this value" in said
    story = told(desk, install, as_of=start)
    assert (story.enerflo.is_later, story.crm.is_later) == (False, True)
    # The same row, and a value that both agreed on by then.
    assert "not known" not in text(desk, install, "system_size_kw", as_of=start)
    story = told(desk, f"enerflo:{note}", "body", "note", as_of=start)
    assert (story.enerflo.is_later, story.crm.is_later) == (True, False)


def test_as_of_counts_the_decisions_that_came_later(desk: Desk, install: int) -> None:
    start = desk.one("select clock_timestamp()")
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    apply(desk)
    said = text(desk, install, "status", as_of=start)
    assert "Nothing had been decided about it by then: 1 decision came later." in said
    assert "the ledger has no row" not in said
    assert "the ledger has no row" in text(desk, install, "panel_type", as_of=start)


def test_as_of_a_time_before_the_first_poll_no_value_is_known_since_then(desk: Desk, install: int) -> None:
    start = desk.one("select min(first_seen_at) - interval '1 day' from enerflo.install_versions")
    said = text(desk, install, "status", as_of=start)
    assert "what it said then is not known. The CRM" in said
    assert f"known since {start:%Y-%m-%d %H:%M:%S}" not in said
    known = desk.one("select first_seen_at from enerflo.install_versions where install_id = :id", id=install)
    assert f"Enerflo's present value is known since {known:%Y-%m-%d %H:%M:%S} UTC, by poll" in said
