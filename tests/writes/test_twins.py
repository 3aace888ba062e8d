"""A CRM row that is one of several is no source of a base, nor of a change, until it is equal by itself."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_identity import in_progress, of, projects, status_of

KEYED = "      deal_id"


def twin(desk: Desk, install: int, name: str, status: str, *, mirrors: bool = True) -> None:
    """Put a second row beside the one of an install: of its record, or of its key."""
    columns = [
        row["name"]
        for row in desk.sql(
            "select attname as name from pg_attribute where attrelid = 'crm.installs'::regclass"
            " and attnum > 0 and not attisdropped"
        )
    ]
    values = {"project_id": ":name", "status": ":status", "updated_at": "now()"}
    selects = ", ".join(values.get(column, column) for column in columns)
    desk.sql(
        f"insert into crm.installs ({', '.join(columns)}) select {selects} from crm.installs"
        " where project_id = :id limit 1",
        id=f"p-{install}",
        name=name,
        status=status,
    )


def pushed(desk: Desk) -> int:
    return len(desk.world.received)


def edited(desk: Desk, name: str, status: str) -> None:
    desk.sql(
        "update crm.installs set status = :s, updated_at = now() where project_id = :id", id=name, s=status
    )


# A policy decides only what is done with the value of the row that is left: each is tried where that row was edited.
# Which row was edited, and which is gone, decides what is remembered of the two, whatever the policy.
@pytest.mark.parametrize(
    ("edits", "gone", "policy"),
    [
        ("the second", "the first", "newest"),
        ("the second", "the first", "crm"),
        ("the second", "the first", "review"),
        ("the first", "the second", "newest"),
        ("the first", "the first", "newest"),
        ("the second", "the second", "newest"),
    ],
)
def test_what_is_left_of_two_rows_proposes_nothing_of_what_was_said_meanwhile(
    desk: Desk, policy: str, gone: str, edits: str
) -> None:
    projects(desk, unique=False, status=policy)
    install = in_progress(desk)[0]
    first, second = f"p-{install}", "copy"
    twin(desk, install, second, "In progress")
    desk.carried()
    edited(desk, first if edits == "the first" else second, "On Hold")
    before = pushed(desk)
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id", id=first if gone == "the first" else second)
    desk.carried()
    desk.carried()
    assert (pushed(desk), status_of(desk, install)) == (before, "In progress")


@pytest.mark.parametrize("policy", ["newest", "crm", "review"])
def test_a_row_in_the_place_of_another_one_proposes_nothing_until_it_is_equal(
    desk: Desk, policy: str
) -> None:
    projects(desk, unique=False, status=policy)
    install = in_progress(desk)[0]
    desk.carried()
    desk.world.set_status(install, 4)
    run_poll(desk.context)
    # Between two plans: a copy with the time of its making, and the row itself is deleted.
    twin(desk, install, "copy", "In progress")
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{install}")
    before = pushed(desk)
    for _ in range(2):
        desk.carried()
    assert (pushed(desk), status_of(desk, install)) == (before, "On Hold")
    desk.sql("update crm.installs set status = 'On Hold', updated_at = now() where project_id = 'copy'")
    desk.carried()
    edited(desk, "copy", "Cancelled")
    desk.carried()
    assert status_of(desk, install) == "Cancelled"


@pytest.mark.parametrize("policy", ["newest", "crm", "review"])
def test_what_is_left_of_two_rows_of_one_key_proposes_nothing(desk: Desk, policy: str) -> None:
    projects(desk, unique=False, status=policy)
    install = in_progress(desk)[0]
    twin(desk, install, f"p-{install}", "On Hold")
    before = pushed(desk)
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id and status = 'In progress'", id=f"p-{install}")
    plan = desk.plan()
    assert [one.field for one in of(desk, plan, install) if one in desk.undecided(plan)] == ["status"]
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (pushed(desk), status_of(desk, install)) == (before, "In progress")
    cause = "select cause from sync.differences where field = 'status' order by difference_id desc limit 1"
    assert desk.one(cause) == "duplicate_identity"


def test_a_row_that_shares_its_key_with_a_row_of_another_record_proposes_nothing(desk: Desk) -> None:
    projects(desk, unique=False)
    first, other = in_progress(desk)[:2]
    desk.sql(
        "update crm.installs set project_id = :a, updated_at = now() where project_id = :b",
        a=f"p-{first}",
        b=f"p-{other}",
    )
    desk.carried()
    edited(desk, f"p-{first}", "On Hold")
    before = pushed(desk)
    desk.carried()
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=other)
    desk.carried()
    assert (pushed(desk), status_of(desk, first)) == (before, "In progress")


def test_once_it_is_equal_by_itself_its_next_edit_is_carried(desk: Desk) -> None:
    projects(desk, unique=False)
    install = in_progress(desk)[0]
    twin(desk, install, "copy", "On Hold")
    desk.carried()
    assert desk.one("select count(*) from sync.agreed_twins") > 0
    desk.sql("delete from crm.installs where project_id = 'copy'")
    # Nothing of the row that is left moved: it is looked at all the same.
    desk.carried()
    left = "select count(*) from sync.agreed_twins where key ->> 'project_id' = :id"
    assert desk.one(left, id=f"p-{install}") == 0
    edited(desk, f"p-{install}", "Cancelled")
    desk.carried()
    assert status_of(desk, install) == "Cancelled"


def test_a_person_decides_by_making_both_sides_equal(desk: Desk) -> None:
    projects(desk, unique=False)
    install = in_progress(desk)[0]
    twin(desk, install, "copy", "On Hold")
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{install}")
    assert desk.undecided(desk.plan())
    edited(desk, "copy", "In progress")
    desk.carried()
    edited(desk, "copy", "Cancelled")
    desk.carried()
    assert status_of(desk, install) == "Cancelled"


def test_the_other_fields_of_what_is_left_go_on(desk: Desk) -> None:
    projects(desk, unique=False)
    install = in_progress(desk)[0]
    twin(desk, install, "copy", "On Hold")
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{install}")
    desk.sql("update crm.installs set panel_count = 99, updated_at = now() where project_id = 'copy'")
    plan = desk.plan()
    assert [one.field for one in desk.changes(plan, key={"project_id": "copy"})] == ["panel_count"]


def test_a_row_that_got_a_twin_between_plan_and_apply_is_not_written(desk: Desk) -> None:
    projects(desk, unique=False)
    install = in_progress(desk)[0]
    key = f"p-{install}"
    desk.sql("update crm.installs set panel_count = 77 where project_id = :id", id=key)
    plan = desk.plan()
    twin(desk, install, key, "In progress")
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    counts = desk.sql("select panel_count from crm.installs where project_id = :id", id=key)
    assert [row["panel_count"] for row in counts] == [77, 77]
    assert desk.one("select state from sync.plan_changes where plan_hash = :h", h=plan.plan_hash) == "moved"
