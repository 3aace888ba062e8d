"""Rows that say something else although no transaction wrote them, and transactions that cannot be told apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from enerflo_sync.reconcile.report import Scope
from tests.reconcile.conftest import NOW, TwoSides

LATER = NOW + timedelta(hours=2)


def copy_of(sides: TwoSides, name: str, status: str) -> None:
    sides.sql(f"create table crm.{name} (like crm.installs including all)")
    sides.sql(f"insert into crm.{name} select * from crm.installs")
    sides.sql(f"update crm.{name} set status = '{status}' where enerflo_install_id = 2")


def an_older_table_in_its_place(sides: TwoSides) -> Callable[[], None]:
    copy_of(sides, "older", "Lost")

    def swap() -> None:
        sides.sql("alter table crm.installs rename to newer")
        sides.sql("alter table crm.older rename to installs")

    return swap


def an_older_partition_in_its_place(sides: TwoSides) -> Callable[[], None]:
    copy_of(sides, "first", "In progress")
    copy_of(sides, "second", "Lost")
    sides.sql("drop table crm.installs")
    sides.sql(
        "create table crm.installs (like crm.first including all) partition by range (enerflo_install_id)"
    )
    attach = "alter table crm.installs attach partition crm.{} for values from (0) to (100)"
    sides.sql(attach.format("first"))

    def swap() -> None:
        sides.sql("alter table crm.installs detach partition crm.first")
        sides.sql(attach.format("second"))

    return swap


def columns_that_swap_names(sides: TwoSides) -> Callable[[], None]:
    sides.sql("alter table crm.installs add other_status text")
    sides.sql("update crm.installs set other_status = status")
    sides.sql("update crm.installs set other_status = 'Lost' where enerflo_install_id = 2")

    def swap() -> None:
        sides.sql("alter table crm.installs rename status to status_before")
        sides.sql("alter table crm.installs rename other_status to status")

    return swap


def a_label_that_is_renamed(sides: TwoSides) -> Callable[[], None]:
    sides.sql("create type crm.status as enum ('In progress', 'Held')")
    sides.sql("update crm.installs set status = 'Held' where enerflo_install_id = 2")
    sides.sql("update enerflo.installs set status_name = 'Held' where install_id = 2")
    sides.sql("alter table crm.installs alter status type crm.status using status::crm.status")
    return lambda: sides.sql("alter type crm.status rename value 'Held' to 'Lost'")


def a_row_that_is_shown_to_us_no_longer(sides: TwoSides) -> Callable[[], None]:
    sides.sql("create view crm.shown as select * from crm.installs")
    sides.sql("alter table crm.installs rename to all_installs")
    sides.sql("alter view crm.shown rename to installs")
    replaced = (
        "create or replace view crm.installs as select enerflo_install_id, customer_name,"
        " case enerflo_install_id when 2 then 'Lost' else status end as status, system_size_kw, panel_count,"
        " contract_amount, updated_at from crm.all_installs"
    )
    return lambda: sides.sql(replaced)


@pytest.mark.parametrize(
    "world",
    [
        an_older_table_in_its_place,
        an_older_partition_in_its_place,
        columns_that_swap_names,
        a_label_that_is_renamed,
        a_row_that_is_shown_to_us_no_longer,
    ],
)
def test_what_changes_without_being_written_is_found(
    sides: TwoSides, world: Callable[[TwoSides], Callable[[], None]]
) -> None:
    for number in (1, 2):
        sides.install(number)
    happens = world(sides)
    assert sides.reconcile(NOW).differences == 0
    happens()
    sides.engine.dispose()
    report = sides.reconcile(LATER)
    assert [(key, field) for _, key, field, _ in sides.causes(report)] == [
        ({"enerflo_install_id": 2}, "status")
    ]
    assert sides.reconcile(LATER + timedelta(hours=1)).scope is Scope.INCREMENTAL


@pytest.mark.parametrize("ahead", [1_000_000, 3_000_000_000, -3_000_000_000])
def test_in_a_copy_of_the_database_whose_transactions_count_anew_every_row_is_looked_at(
    sides: TwoSides, ahead: int
) -> None:
    for number in (1, 2):
        sides.install(number)
    sides.reconcile(NOW)
    with sides.engine.begin() as connection:
        for table in ("reconciliations", "crm_looks"):
            # As a server says whose transactions were further on, or are far behind.
            connection.execute(sa.text(_FURTHER[table]), {"ahead": ahead})
    sides.sql("update crm.installs set status = 'Lost' where enerflo_install_id = 2")
    report = sides.reconcile(LATER)
    assert report.scope is Scope.INCREMENTAL
    assert [key for _, key, *_ in sides.causes(report)] == [{"enerflo_install_id": 2}]


_FURTHER = {
    "reconciliations": "update sync.reconciliations set report = jsonb_set(report::jsonb,"
    " '{looks,installs,from_xid}', to_jsonb((report #>> '{looks,installs,from_xid}')::bigint + :ahead))",
    "crm_looks": "update sync.crm_looks set from_xid = from_xid + :ahead",
}
