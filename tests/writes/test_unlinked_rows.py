"""A CRM row that loses or mistypes the id of its record: nothing is made again, and the words say what happened."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.creations import ROW_LOST_LINK
from tests.writes.conftest import Desk
from tests.writes.copies import mapped, run
from tests.writes.test_salesforce_copy import TABLES, copied

__all__ = ["copied"]
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
INSTALLS = TABLES.partition("\n  permits:")[0]
MADE = "    on_insert: {Id: 'new-{install_id}', RecordTypeName: Solar, IsDeleted: 'false', _fivetran_deleted: 'false'}\n"
# Rows are made in the table itself.
TO_TABLE = (
    INSTALLS.replace("    create_in: []\n", MADE).replace("write_to: changes", "write_to: table") + "\n"
)
OLD_VERSIONS = 'delete from salesforce."Opportunity" where _fivetran_deleted'
ROOFS = 'delete from salesforce."Opportunity" where "RecordTypeName" = \'Roofing\''
LOST = ROW_LOST_LINK.format("Enerflo_Install_Id__c")
LINK = 'update salesforce."Opportunity" set _fivetran_synced = now(), "Enerflo_Install_Id__c" = :link where "Id" = :id'


@pytest.fixture
def linked(copied: Desk) -> Desk:
    """Both sides agree. A roof and an old version of the row name each install as well."""
    mapped(copied, "both", TO_TABLE, AT_ONCE)
    copied.carried()
    return copied


def asked(desk: Desk) -> list[str]:
    """Plan and apply, and return the questions about whole rows that the CRM lacks."""
    plan = desk.plan()
    assert plan.change_count == 0, desk.changes(plan)
    return [str(one.reason) for one in desk.undecided(plan) if one.enerflo_value is not None]


def causes(desk: Desk) -> list[str]:
    """Reconcile, and return the causes of rows that only Enerflo has."""
    report = run_reconcile(desk.context, full=True)
    rows = desk.sql(
        "select cause from sync.differences where reconciliation_id = :id and field is null"
        " and enerflo_value is not null",
        id=report.reconciliation_id,
    )
    return [row["cause"] for row in rows]


@pytest.mark.parametrize("aside", [[], [OLD_VERSIONS], [ROOFS], [OLD_VERSIONS, ROOFS]])
@pytest.mark.parametrize("link", [None, "", "n/a", "99440"])
def test_a_row_that_lost_its_record_is_told_as_such(linked: Desk, link: str | None, aside: list[str]) -> None:
    run(linked, *aside)
    install = linked.a_site().install_id
    linked.sql(LINK, link=link, id=f"006{install}")
    for _ in range(2):
        assert asked(linked) == [LOST]
        assert causes(linked) == ["deleted_in_crm"]
        run_poll(linked.context)
    linked.sql(LINK, link=f" {install}", id=f"006{install}")
    assert (asked(linked), causes(linked)) == ([], [])


def test_a_row_that_names_another_record_leaves_its_own_free_for_a_new_one(linked: Desk) -> None:
    run(linked, OLD_VERSIONS, ROOFS)
    install = linked.a_site().install_id
    gone = linked.one("select max(install_id) from enerflo.installs where deleted_at is null")
    run(linked, f'delete from salesforce."Opportunity" where "Id" = \'006{gone}\'')
    linked.sql("delete from sync.agreed where enerflo_key ->> 'install_id' = :id", id=str(gone))
    linked.sql(LINK, link=str(gone), id=f"006{install}")
    plan = linked.plan()
    made = {str(one.key) for one in linked.changes(plan, op="insert")}
    assert made == {str({"Id": f"new-{install}"})}


def test_a_row_that_is_deleted_is_asked_about_though_a_row_outside_where_names_its_record(
    linked: Desk,
) -> None:
    run(linked, OLD_VERSIONS)
    install = linked.a_site().install_id
    run(linked, f'delete from salesforce."Opportunity" where "Id" = \'006{install}\'')
    assert asked(linked) == ["it was deleted from the CRM since both agreed"]
    assert causes(linked) == ["deleted_in_crm"]


def test_a_row_that_leaves_where_is_no_question(linked: Desk) -> None:
    run(linked, OLD_VERSIONS)
    install = linked.a_site().install_id
    moved = 'update salesforce."Opportunity" set _fivetran_synced = now(), "RecordTypeName" = \'Roofing\' where "Id" = :id'
    linked.sql(moved, id=f"006{install}")
    assert (asked(linked), causes(linked)) == ([], ["policy"])


@pytest.mark.parametrize("renumbered", [False, True])
def test_a_row_that_was_one_of_two_is_not_told_as_two_milestones(copied: Desk, renumbered: bool) -> None:
    mapped(copied, "both", TABLES.replace("write_to: changes", "write_to: table"), AT_ONCE)
    copied.carried()
    of_day = (
        "select install_id from enerflo.milestones where title = 'Permitting' and completed_at is not null"
        " and deleted_at is null order by completed_at {} limit 1"
    )
    first, second = copied.one(of_day.format("asc")), copied.one(of_day.format("desc"))
    run(
        copied,
        'update salesforce."Opportunity" set _fivetran_synced = now(), "LastModifiedDate" = localtimestamp',
    )
    copied.sql(LINK, link=str(second), id=f"006{first}")
    copied.carried()
    run(copied, f'delete from salesforce."Opportunity" where "Id" = \'006{second}\'')
    if renumbered:
        run(copied, f'update salesforce."Opportunity" set "Id" = \'new\' where "Id" = \'006{first}\'')
    # Else Enerflo's value may be the later one by then, which is written.
    run(
        copied,
        'update salesforce."Opportunity" set _fivetran_synced = now(), "LastModifiedDate" = localtimestamp',
    )
    copied.carried()
    (table,) = (one for one in run_reconcile(copied.context, full=True).tables if one.table_name == "permits")
    assert not [one for one in table.remarks if "more than one milestone" in one]
    assert (
        "Permit_Approved_Date__c: 1 row(s) were one of several of their record, and were not equal to Enerflo"
        " since; nothing is written there until both sides agree." in table.remarks
    )
