"""A table of which others inherit: an index of it holds its own rows alone, and proves nothing of theirs."""

from __future__ import annotations

import pytest

from enerflo_sync.crm.catalog import live_table
from enerflo_sync.reconcile.render.verdict import is_all_clear
from tests.reconcile.conftest import CRM_INSTALL, LONG_AGO, NOW, TwoSides


@pytest.mark.parametrize("full", [True, False])
def test_rows_of_one_key_in_a_table_and_in_one_that_inherits_are_duplicates(
    sides: TwoSides, full: bool
) -> None:
    sides.sql("create table crm.archive () inherits (crm.installs)")
    for number in (1, 2, 3):
        sides.install(number)
    assert sides.reconcile(NOW, full=True).differences == 0
    again = CRM_INSTALL | {"enerflo_install_id": 2, "updated_at": LONG_AGO, "panel_count": 7}
    sides.insert("crm.archive", **again)
    report = sides.reconcile(NOW, full=full)
    assert {cause for *_, cause in sides.causes(report)} == {"duplicate_identity"}
    assert not is_all_clear(report)


def test_so_they_are_where_both_say_what_enerflo_says(sides: TwoSides) -> None:
    sides.sql("create table crm.archive () inherits (crm.installs)")
    for number in (1, 2, 3):
        sides.install(number)
    sides.insert("crm.archive", **CRM_INSTALL | {"enerflo_install_id": 2, "updated_at": LONG_AGO})
    report = sides.reconcile(NOW)
    assert {cause for *_, cause in sides.causes(report)} == {"duplicate_identity"}


def test_a_partitioned_tables_own_key_proves_that_no_two_rows_share_it(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs rename to before")
    columns = "(like crm.before, primary key (enerflo_install_id)) partition by hash (enerflo_install_id)"
    sides.sql(f"create table crm.installs {columns}")
    sides.sql("create table crm.half partition of crm.installs for values with (modulus 2, remainder 0)")
    sides.sql("create table crm.rest partition of crm.installs for values with (modulus 2, remainder 1)")
    sides.install(1)
    with sides.engine.connect() as connection:
        table = live_table(connection, "crm", "installs")
    assert table is not None
    assert table.unique_by(["enerflo_install_id"])
    assert sides.reconcile(NOW).differences == 0
