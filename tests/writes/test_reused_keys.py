"""Keys of the CRM that an import hands out anew: another row has the key of one that was sent or decided about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan import make
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought
from tests.writes.sending import lost_after_the_post, note, posts
from tests.writes.test_boards import OWN_KEY, _deleted_too, a_site, said, to_west
from tests.writes.test_moved_rows import AT_ONCE, _boards, at_enerflo
from tests.writes.test_refused import status_at_enerflo

NOTE = "insert into crm.notes (note_id, enerflo_install_id, body, updated_at) values (:n, :i, :b, now())"


def imported(desk: Desk, site: int) -> None:
    """Give the row of a record another key, and its former key to the row of another record."""
    key = desk.one("select item from crm.east where record::bigint = :i", i=site)
    desk.sql("update crm.east set item = 'again-' || item where record::bigint = :i", i=site)
    reused(desk, key)


def reused(desk: Desk, key: str) -> None:
    desk.sql(
        "update crm.east set item = :k where record = (select max(record) from crm.east where label = 'On Hold')",
        k=key,
    )
    assert desk.one("select count(*) from crm.east where item = :k", k=key) == 1


def due(desk: Desk) -> set[str]:
    return {str(change.key["note_id"]) for plan in run_plan(desk.context) for change in desk.changes(plan)}


def undone(desk: Desk) -> None:
    """Apply what is planned, and undo it."""
    plan = desk.plan()
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").applied > 0
    undo = run_undo(desk.context, plan.plan_hash)
    assert run_apply(desk.context, undo.plan_hash, approved_by="Sam").applied > 0


def test_notes_that_a_person_refused_are_not_sent_under_the_keys_of_an_import(agreed: Desk) -> None:
    site = agreed.a_site().install_id
    for key, body in (("100", "The roof is wet."), ("101", "The dog bites.")):
        agreed.sql(NOTE, n=key, i=site, b=body)
    for plan in run_plan(agreed.context):
        run_reject(agreed.context, plan.plan_hash, by="Sam Hill")
    # An old note of the CRM gets the key of one that was refused, and that one the key of the other one.
    agreed.sql("update crm.notes set note_id = '102' where note_id = '101'")
    agreed.sql("update crm.notes set note_id = '101' where note_id = '100'")
    agreed.sql(
        "update crm.notes set note_id = '100' where enerflo_note_id = (select min(enerflo_note_id) from crm.notes)"
    )
    for _ in range(2):
        assert due(agreed) == set()
    agreed.sql("update crm.notes set body = 'The roof is dry.' where note_id = '101'")
    assert due(agreed) == {"101"}


def test_what_a_person_took_back_holds_where_an_import_gives_its_key_to_another_row(agreed: Desk) -> None:
    brought(agreed, _boards, *OWN_KEY)
    site = a_site(agreed)
    at_enerflo(agreed, site, 4)
    undone(agreed)
    imported(agreed, site)
    for _ in range(2):
        assert "installs" not in said(agreed)
        agreed.carried()
        assert status_at_enerflo(agreed, site) == 4
    at_enerflo(agreed, site, 1304)
    assert said(agreed)["installs"] == ["update to_crm"]


def test_nor_is_a_row_deleted_that_an_undo_restored(agreed: Desk) -> None:
    brought(agreed, _deleted_too, *OWN_KEY)
    site = a_site(agreed)
    agreed.world.delete_install(site)
    run_poll(agreed.context, full=True)
    undone(agreed)
    imported(agreed, site)
    for _ in range(2):
        assert "installs" not in said(agreed)
        agreed.carried()


def test_it_holds_on_the_next_board_where_another_row_has_the_key_by_now(agreed: Desk) -> None:
    brought(agreed, _boards, *OWN_KEY)
    site = a_site(agreed)
    at_enerflo(agreed, site, 4)
    undone(agreed)
    key = agreed.one("select item from crm.east where record::bigint = :i", i=site)
    to_west(agreed, site)
    reused(agreed, key)
    for _ in range(2):
        assert "west" not in said(agreed)
        agreed.carried()
    assert agreed.one("select stage from crm.west where record::bigint = :i", i=site) == "In progress"


@pytest.mark.parametrize("polled", [True, False])
def test_a_note_that_was_accepted_is_not_taken_for_the_note_that_has_its_key_by_now(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, polled: bool
) -> None:
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "The roof is wet.")
    lost_after_the_post(agreed, monkeypatch)
    (sent,) = [one for one in agreed.world.truth.notes() if "The roof" in one.body]
    # The process ended after it had noted the answer.
    agreed.sql(
        "update sync.plan_changes set accepted_at = now(), accepted_id = :n where state = 'sent'",
        n=sent.note_id,
    )
    agreed.sql("update crm.notes set note_id = 'N2', updated_at = now() where note_id = 'N1'")
    note(agreed, "N1", install, "The dog bites.")
    if polled:
        run_poll(agreed.context)
    for _ in range(2):
        agreed.carried()
        run_poll(agreed.context)
    assert len(posts(agreed)) == 2
    named = {row["note_id"]: row["enerflo_note_id"] for row in agreed.sql("select * from crm.notes")}
    bodies = {one.note_id: one.body for one in agreed.world.truth.notes()}
    assert named["N2"] == sent.note_id
    assert bodies[named["N1"]].startswith("The dog bites.")


def test_the_undo_of_a_deletion_says_that_another_row_has_the_key(agreed: Desk) -> None:
    brought(agreed, _deleted_too, *OWN_KEY)
    site = a_site(agreed)
    key = agreed.one("select item from crm.east where record::bigint = :i", i=site)
    agreed.world.delete_install(site)
    run_poll(agreed.context, full=True)
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    reused(agreed, key)
    undo = run_undo(agreed.context, plan.plan_hash)
    assert [one.reason for one in agreed.undecided(undo) if one.key == {"item": key}] == [
        "another row of the CRM has its key by now"
    ]
    # The row itself is there again.
    agreed.sql("update crm.east set record = :i where item = :k", i=str(site), k=key)
    undo = run_undo(agreed.context, plan.plan_hash)
    assert [one.reason for one in agreed.undecided(undo) if one.key == {"item": key}] == [
        "its row is in the CRM again"
    ]


DEALS = """tables:
  installs:
    crm_table: crm.deals
    key: [item]
    join: {record: install_id}
    updated_at: updated_at
    create_in: []
    fields:
      stage: {enerflo: status_name, type: text, source_of_truth: newest}
"""


@pytest.fixture
def deals(agreed: Desk) -> Desk:
    """A company whose CRM numbers its rows by itself; each of them agrees with its install."""
    agreed.sql(
        "create table crm.deals (item text primary key, record bigint, stage text, updated_at timestamptz)"
    )
    agreed.sql(
        "insert into crm.deals select 'i' || row_number() over (order by install_id), install_id, status_name,"
        " now() - interval '1 day' from enerflo.installs where deleted_at is null"
    )
    mapped(agreed, "both", DEALS, AT_ONCE)
    agreed.carried()
    return agreed


def numbered_anew(desk: Desk, at: str = "now()") -> None:
    """Let an import give each row the number after its own, and a time: its own if none is named."""
    desk.sql(
        "create table crm.import as select 'i' || substr(item, 2)::int + 1 as item, record, stage,"
        f" {at} as at from crm.deals"
    )
    desk.sql("delete from crm.deals")
    desk.sql("insert into crm.deals select * from crm.import")
    desk.sql("drop table crm.import")


def in_front_of_another_stage(desk: Desk) -> int:
    """Return the install of a row whose next number had a row with another stage."""
    return int(
        desk.one(
            "select min(a.record) from crm.deals a join crm.deals b"
            " on substr(b.item, 2)::int = substr(a.item, 2)::int + 1"
            " where a.stage = 'In progress' and b.stage <> a.stage"
        )
    )


def the_last(desk: Desk) -> int:
    """Return the install of the row with the highest number: an import gives it one that no row had."""
    return int(desk.one("select record from crm.deals order by substr(item, 2)::int desc limit 1"))


def an_edit_is_one_again(deals: Desk, site: int) -> None:
    """Assert that an edit is sent once somebody has written Enerflo's value into the row of an import."""
    deals.sql(
        "update crm.deals set stage = e.status_name, updated_at = now() from enerflo.installs e"
        " where e.install_id = record and record = :i",
        i=site,
    )
    assert deals.plan().change_count == 0
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    deals.carried()
    assert status_at_enerflo(deals, site) == 4


@pytest.mark.parametrize("which", [in_front_of_another_stage, the_last])
@pytest.mark.parametrize("times", [1, 2])
def test_rows_that_an_import_numbers_and_dates_anew_send_no_value_that_nobody_changed(
    deals: Desk, which: Callable[[Desk], int], times: int
) -> None:
    site = which(deals)
    deals.world.set_status(site, 323)
    run_poll(deals.context)
    for _ in range(times):
        numbered_anew(deals)
        (found,) = [one for one in deals.undecided(deals.plan()) if one.field == "stage"]
        assert any(why in str(found.reason) for why in ("had another key", "another row of the CRM"))
    deals.carried()
    assert status_at_enerflo(deals, site) == 323
    an_edit_is_one_again(deals, site)


def test_an_edit_after_an_import_that_numbers_rows_anew_is_sent(deals: Desk) -> None:
    numbered_anew(deals)
    deals.carried()
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    deals.carried()
    assert status_at_enerflo(deals, site) == 4


def test_what_a_person_refused_of_a_row_stays_refused_where_another_row_has_its_key(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    for plan in run_plan(deals.context):
        run_reject(deals.context, plan.plan_hash, by="Sam Hill")
    for _ in range(3):
        numbered_anew(deals)
        assert due_stages(deals) == []
        deals.carried()
    assert status_at_enerflo(deals, site) != 4
    # Another value is another change.
    deals.sql("update crm.deals set stage = 'Cancelled', updated_at = now() where record = :i", i=site)
    assert due_stages(deals) == ["to_enerflo"]


def test_nor_where_rows_are_numbered_anew_while_a_plan_is_made(
    deals: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    for plan in run_plan(deals.context):
        run_reject(deals.context, plan.plan_hash, by="Sam Hill")
    # The key goes to a row that says what Enerflo says of the refused one's install.
    deals.sql(
        "update crm.deals set stage = 'In progress', updated_at = now() where substr(item, 2)::int = ("
        " select substr(item, 2)::int - 1 from crm.deals where record = :i)",
        i=site,
    )
    decide_all = make.decide_all

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        numbered_anew(deals)
        decide_all(*args)

    deals.carried()
    monkeypatch.setattr(make, "decide_all", meanwhile)
    for _ in range(2):
        assert due_stages(deals) == []
    deals.carried()
    assert status_at_enerflo(deals, site) != 4


def test_a_refusal_ends_where_both_sides_agree_under_another_key(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    for plan in run_plan(deals.context):
        run_reject(deals.context, plan.plan_hash, by="Sam Hill")
    numbered_anew(deals)
    deals.sql("update crm.deals set stage = 'In progress', updated_at = now() where record = :i", i=site)
    assert due_stages(deals) == []
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    assert due_stages(deals) == ["to_enerflo"]


def due_stages(desk: Desk) -> list[str]:
    return [
        str(change.direction)
        for plan in run_plan(desk.context)
        for change in desk.changes(plan, field="stage")
    ]


def test_nor_is_an_edit_of_the_crm_overwritten_by_what_both_agreed_on_before(deals: Desk) -> None:
    """The import keeps its source's times, and Enerflo's record changed later in another field."""
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    deals.sql(
        "update enerflo.installs set updated_at = now() + interval '1 second', observed_at = now() + interval '1 second'"
        " where install_id = :i",
        i=site,
    )
    numbered_anew(deals, at="updated_at")
    for _ in range(2):
        deals.carried()
        assert deals.one("select stage from crm.deals where record = :i", i=site) == "On Hold"
