"""A record whose row goes to another CRM table: what a person refused or took back of it holds there."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought
from tests.writes.test_moved_rows import AT_ONCE, BOARDS, CANCELLED, KEYS, ON_HOLD, _boards, at_enerflo

DELETES = "    create_in: []\n"
LEADS = """
  {name}:
    of: leads
    crm_table: crm.{name}
    key: [item]
    join: {{customer: customer_id}}
    updated_at: updated_at
    create_in: [enerflo]
    create_when: {{stage: [ready]}}
    fields:
      {first}: {{enerflo: first_name, type: text, source_of_truth: crm}}
      {last}: {{enerflo: last_name, type: text, source_of_truth: crm}}
      mail: {{enerflo: email, type: text, source_of_truth: crm}}
"""


def a_site(desk: Desk) -> int:
    return int(desk.one("select min(record::bigint) from crm.east where label = 'In progress'"))


def to_west(desk: Desk, site: int) -> None:
    desk.sql("insert into crm.west select * from crm.east where record::bigint = :i", i=site)
    desk.sql("delete from crm.east where record::bigint = :i", i=site)


def said(desk: Desk) -> dict[str, list[str]]:
    """Return what is due by table, and what is asked."""
    found: dict[str, list[str]] = {}
    for plan in run_plan(desk.context):
        for change in desk.changes(plan):
            found.setdefault(change.table_name, []).append(f"{change.op} {change.direction}")
        for one in desk.undecided(plan):
            if one.reason != "it was deleted from the CRM since both agreed":
                found.setdefault(one.table_name, []).append(str(one.reason))
    return found


@pytest.mark.parametrize("how", KEYS)
def test_what_a_person_took_back_of_one_board_is_not_written_to_the_next(agreed: Desk, how: str) -> None:
    brought(agreed, _boards, *KEYS[how])
    site = a_site(agreed)
    at_enerflo(agreed, site, ON_HOLD)
    plan = agreed.plan()
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    undo = run_undo(agreed.context, plan.plan_hash)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Sam").applied == 1
    to_west(agreed, site)
    for _ in range(2):
        assert "west" not in said(agreed)
        agreed.carried()
    assert agreed.one("select stage from crm.west where record::bigint = :i", i=site) == "In progress"
    at_enerflo(agreed, site, CANCELLED)
    assert said(agreed)["west"] == ["update to_crm"]
    agreed.sql(
        "update crm.west set stage = 'Completed', updated_at = now() where record::bigint = :i", i=site
    )
    assert said(agreed)["west"] == ["update to_enerflo"]


@pytest.mark.parametrize("how", KEYS)
def test_a_write_that_a_person_refused_of_one_board_is_refused_of_the_next(agreed: Desk, how: str) -> None:
    brought(agreed, _boards, *KEYS[how])
    site = a_site(agreed)
    at_enerflo(agreed, site, ON_HOLD)
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam Hill", reason="a clerk looks at it")
    to_west(agreed, site)
    for _ in range(2):
        (told,) = said(agreed)["west"]
        assert told.endswith("UTC: a clerk looks at it")
    at_enerflo(agreed, site, CANCELLED)
    assert said(agreed)["west"] == ["update to_crm"]


def _deleted_too(desk: Desk, kind: str, key: str) -> None:
    _boards(desk, kind, key)
    mapped(desk, "both", BOARDS.replace(DELETES, f"{DELETES}    delete_in: [crm]\n").format(key=key), AT_ONCE)
    desk.carried()


@pytest.mark.parametrize("how", KEYS)
def test_a_deletion_that_a_person_refused_of_one_board_is_refused_of_the_next(agreed: Desk, how: str) -> None:
    brought(agreed, _deleted_too, *KEYS[how])
    site = a_site(agreed)
    agreed.world.delete_install(site)
    run_poll(agreed.context, full=True)
    assert said(agreed)["installs"] == ["delete to_crm"]
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam Hill", reason="we still build it")
    to_west(agreed, site)
    (told,) = said(agreed)["west"]
    assert told.endswith("UTC: we still build it")
    agreed.carried()
    assert agreed.one("select count(*) from crm.west where record::bigint = :i", i=site) == 1


@pytest.mark.parametrize("how", KEYS)
def test_a_row_that_an_undo_restored_on_one_board_is_not_deleted_from_the_next(
    agreed: Desk, how: str
) -> None:
    brought(agreed, _deleted_too, *KEYS[how])
    site = a_site(agreed)
    agreed.world.delete_install(site)
    run_poll(agreed.context, full=True)
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.one("select count(*) from crm.east where record::bigint = :i", i=site) == 0
    undo = run_undo(agreed.context, plan.plan_hash)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Sam").applied == undo.change_count
    to_west(agreed, site)
    for _ in range(2):
        assert "west" not in said(agreed)
        agreed.carried()
    assert agreed.one("select count(*) from crm.west where record::bigint = :i", i=site) == 1


OWN_KEY = KEYS["a text, and a key of its own"]


def test_what_a_person_took_back_holds_for_a_row_that_gets_another_key(agreed: Desk) -> None:
    brought(agreed, _boards, *OWN_KEY)
    site = a_site(agreed)
    at_enerflo(agreed, site, ON_HOLD)
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(agreed.context, plan.plan_hash)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Sam").applied == 1
    agreed.sql("update crm.east set item = 'again-' || item where record::bigint = :i", i=site)
    for _ in range(2):
        assert "installs" not in said(agreed)
        agreed.carried()
    at_enerflo(agreed, site, CANCELLED)
    assert said(agreed)["installs"] == ["update to_crm"]


def test_a_row_that_an_undo_restored_is_not_deleted_under_another_key(agreed: Desk) -> None:
    brought(agreed, _deleted_too, *OWN_KEY)
    site = a_site(agreed)
    agreed.world.delete_install(site)
    run_poll(agreed.context, full=True)
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(agreed.context, plan.plan_hash)
    run_apply(agreed.context, undo.plan_hash, approved_by="Sam")
    agreed.sql("update crm.east set item = 'again-' || item where record::bigint = :i", i=site)
    for _ in range(2):
        assert "installs" not in said(agreed)
        agreed.carried()


def _lead_boards(desk: Desk) -> None:
    boards = (("fresh", "first", "last"), ("warm", "given", "family"))
    for name, first, last in boards:
        desk.sql(
            f"create table crm.{name} (item text primary key, customer bigint, {first} text, {last} text,"
            " mail text, stage text, updated_at timestamptz default now())"
        )
    tables = "tables:" + "".join(LEADS.format(name=n, first=f, last=g) for n, f, g in boards)
    mapped(desk, "both", tables, AT_ONCE)
    desk.carried()


def test_a_lead_that_a_person_refused_is_not_sent_from_another_board(agreed: Desk) -> None:
    brought(agreed, _lead_boards)
    for item, mail in (("a", "ann@example.com"), ("b", "bob@example.com")):
        agreed.sql(
            "insert into crm.fresh (item, first, last, mail, stage) values (:i, 'Kim', 'Doe', :m, 'ready')",
            i=item,
            m=mail,
        )
    (plan,) = run_plan(agreed.context)
    assert {change.key["item"] for change in agreed.changes(plan)} == {"a", "b"}
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="no consent")
    agreed.sql(
        "insert into crm.warm (item, given, family, mail, stage) select 'w-' || item, first, last, mail, stage"
        " from crm.fresh where item = 'a'"
    )
    agreed.sql("delete from crm.fresh where item = 'a'")
    (told,) = said(agreed)["warm"]
    assert told.endswith("UTC: no consent")
    # Somebody else's lead is another one, and so is what stands on both boards.
    agreed.sql(
        "insert into crm.warm (item, given, family, mail, stage) values ('new', 'Kim', 'Doe', 'c@example.com',"
        " 'ready')"
    )
    (plan,) = run_plan(agreed.context)
    assert {change.key["item"] for change in agreed.changes(plan)} == {"new"}
