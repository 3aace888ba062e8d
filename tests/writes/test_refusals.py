"""What the CRM's own tables refuse: the row is parked with the reason, and the rest is written."""

from __future__ import annotations

import pytest

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk

_CUSTOMER = """insert into enerflo.customers (account, customer_id, first_name, email, observed_at, observed_by)
values ('default', :id, 'Ann', :email, now() - interval '2 hours', 'poll')"""

_TRIGGER = """create function crm.no() returns trigger language plpgsql as $$ begin
  if new.panel_count = 77 then {raises} end if; return new; end $$"""


@pytest.fixture
def agreeing(agreed: Desk) -> Desk:
    """An account that writes to the CRM, whose first plan was applied: nothing differs."""
    agreed.switched_on("crm")
    return agreed


def moved(desk: Desk, **values: object) -> dict[str, int]:
    """Have Enerflo say something else of one install for each column; return their ids."""
    ids = desk.sql(
        "select install_id from enerflo.installs where deleted_at is null order by 1 limit :n", n=len(values)
    )
    found = dict(zip(values, (row["install_id"] for row in ids), strict=True))
    for column, install in found.items():
        desk.sql(
            f"update enerflo.installs set {column} = :v, observed_at = now() where install_id = :i",
            v=values[column],
            i=install,
        )
    return found


def parked(report: ApplyReport) -> list[str]:
    return list(report.reasons.get("parked", {}))


def test_a_new_row_that_breaks_another_unique_index_is_parked_under_its_name(agreeing: Desk) -> None:
    agreeing.sql("update crm.leads set email = null; create unique index one_email on crm.leads (email)")
    agreeing.sql("update enerflo.customers set email = null")
    for customer in (900001, 900002):
        agreeing.sql(_CUSTOMER, id=customer, email="taken@example.com")
    report = agreeing.carried()
    assert parked(report) == ["the CRM's table refuses it: UniqueViolation (one_email)"]
    assert report.moved == 0
    assert agreeing.one("select count(*) from crm.leads where email = 'taken@example.com'") == 1
    assert agreeing.plan().change_count == 0


@pytest.mark.parametrize(
    ("raises", "why"),
    [
        ("raise exception 'locked';", "RaiseException, SQLSTATE P0001"),
        ("raise exception 'locked' using errcode = 'UE001';", "DatabaseError, SQLSTATE UE001"),
        ("raise exception 'locked' using errcode = '42501';", "InsufficientPrivilege, SQLSTATE 42501"),
        ("raise exception 'locked' using errcode = '55000';", "ObjectNotInPrerequisiteState, SQLSTATE 55000"),
        ("raise exception 'locked' using errcode = '40001';", "SerializationFailure, SQLSTATE 40001"),
        ("select 1 into strict new.panel_count where false;", "NoDataFound, SQLSTATE P0002"),
        ("new.panel_count = cast('x' as integer);", "InvalidTextRepresentation, SQLSTATE 22P02"),
        ("new.panel_count = (select 1 union select 2);", "CardinalityViolation, SQLSTATE 21000"),
        ("raise check_violation using constraint = 'season';", "CheckViolation (season)"),
    ],
)
def test_what_a_trigger_refuses_is_parked_whatever_its_code(agreeing: Desk, raises: str, why: str) -> None:
    agreeing.sql(_TRIGGER.format(raises=raises))
    agreeing.sql("create trigger no before update on crm.installs for each row execute function crm.no()")
    other = moved(agreeing, panel_count=77, panel_type="A new panel")["panel_type"]
    assert parked(agreeing.carried()) == [f"the CRM's table refuses it: {why}"]
    assert agreeing.crm("installs", enerflo_install_id=other)["panel_type"] == "A new panel"


def test_what_fails_whatever_the_row_is_said_and_parks_nothing(agreeing: Desk) -> None:
    agreeing.sql(_TRIGGER.format(raises="perform from crm.secrets;"))
    agreeing.sql("create trigger no before update on crm.installs for each row execute function crm.no()")
    moved(agreeing, panel_count=77)
    plan = agreeing.plan()
    said = r"the function crm\.no of the database, or what it calls, failed \(SQLSTATE 42P01\).*server's log"
    with pytest.raises(ConfigurationError, match=said):
        run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert agreeing.ledger(plan_hash=plan.plan_hash) == []


def test_a_row_that_breaks_a_deferred_constraint_is_parked_and_the_rest_is_written(agreeing: Desk) -> None:
    agreeing.sql("create table crm.panels as select distinct panel_type as name from crm.installs")
    agreeing.sql("delete from crm.panels where name is null; alter table crm.panels add primary key (name)")
    agreeing.sql(
        "alter table crm.installs add constraint known_panel foreign key (panel_type) references crm.panels"
        " deferrable initially deferred"
    )
    ids = moved(agreeing, panel_type="A new panel", panel_count=78)
    report = agreeing.carried()
    assert (report.applied, report.parked) == (1, 1)
    assert parked(report) == ["the CRM's table refuses it: ForeignKeyViolation (known_panel)"]
    assert agreeing.crm("installs", enerflo_install_id=ids["panel_count"])["panel_count"] == 78
    assert [row["decision"] for row in agreeing.ledger(plan_hash=report.plan_hash)] == ["parked", "applied"]


def test_what_a_deferred_constraint_allows_in_the_end_is_written(desk: Desk) -> None:
    fields = "    updated_at: updated_at\n    fields:\n"
    desk.switched_on("crm", (fields, f"    delete_in: [crm]\n{fields}"))
    desk.carried()
    desk.sql("create unique index on crm.installs (enerflo_install_id)")
    desk.sql(
        "alter table crm.milestones add foreign key (enerflo_install_id) references crm.installs"
        " (enerflo_install_id) deferrable initially deferred"
    )
    install = desk.one("select min(install_id) from enerflo.milestones where deleted_at is null")
    for table in ("installs", "milestones"):
        desk.sql(f"update enerflo.{table} set deleted_at = now() where install_id = :i", i=install)
    report = desk.carried()
    assert (report.parked, report.moved) == (0, 0)
    assert desk.one("select count(*) from crm.installs where enerflo_install_id = :i", i=install) == 0


@pytest.mark.parametrize(
    ("alters", "why"),
    [
        (
            "create type crm.panels as enum ('A'); alter table crm.installs alter panel_type"
            " type crm.panels using null",
            "InvalidTextRepresentation, SQLSTATE 22P02 (the column's type has no such value)",
        ),
        (
            "alter table crm.installs alter panel_type type varchar(4) using left(panel_type, 4)",
            "StringDataRightTruncation, SQLSTATE 22001 (the value is too long for the column)",
        ),
        (
            "alter table crm.installs rename to base; create view crm.installs as"
            " select * from crm.base where panel_type is distinct from 'A new panel' with check option",
            "WithCheckOptionViolation, SQLSTATE 44000 (the view's check option does not let such a row be)",
        ),
    ],
    ids=["enum", "length", "view"],
)
def test_a_value_that_the_column_cannot_hold_is_parked_with_words(desk: Desk, alters: str, why: str) -> None:
    desk.sql("update enerflo.installs set panel_type = null")
    desk.sql("update crm.installs set panel_type = null")
    desk.switched_on("crm")
    desk.carried()
    for statement in alters.split(";"):
        desk.sql(statement)
    moved(desk, panel_type="A new panel")
    assert parked(desk.carried()) == [f"the CRM's table refuses it: {why}"]
