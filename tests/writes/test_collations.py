"""Columns of the CRM whose collation calls different texts equal: the mapping alone says what is equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writes.conftest import Desk

ANY_CASE = "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"


@pytest.fixture
def loose(agreed: Desk) -> Callable[[str, str], None]:
    """Give a column of the CRM's installs a collation to which ``Abc`` is ``ABC``."""
    try:
        agreed.sql(ANY_CASE)
    except sa.exc.NotSupportedError:
        pytest.skip("NOT CHECKED: collations of ICU, which this PostgreSQL was built without")

    def alter(column: str, type_: str) -> None:
        agreed.sql(f"alter table crm.installs alter {column} type {type_} collate any_case")

    return alter


@pytest.mark.parametrize("type_", ["text", "varchar(80)"])
def test_another_case_is_a_difference_where_the_mapping_does_not_fold_it(
    agreed: Desk, loose: Callable[[str, str], None], type_: str
) -> None:
    loose("deal_id", type_)
    agreed.carried()
    first: dict[str, Any] = {
        "enerflo_install_id": agreed.one("select min(enerflo_install_id) from crm.installs")
    }
    before = agreed.crm("installs", **first)["deal_id"]
    agreed.sql(
        "update crm.installs set deal_id = upper(deal_id), updated_at = now() where enerflo_install_id = :i",
        i=first["enerflo_install_id"],
    )
    (change,) = agreed.changes(agreed.plan())
    assert (change.field, change.before, change.after) == ("deal_id", before.upper(), before)
    agreed.carried()
    assert agreed.crm("installs", **first)["deal_id"] == before
    # A case that the mapping folds is none.
    loose("status", type_)
    agreed.sql("update crm.installs set status = upper(status), updated_at = now()")
    assert agreed.plan().change_count == 0


def test_numbers_in_such_a_column_are_read(agreed: Desk, loose: Callable[[str, str], None]) -> None:
    loose("system_size_kw", "text")
    agreed.sql(
        "update crm.installs set system_size_kw = system_size_kw || '0'"
        " where system_size_kw collate \"C\" like '%.%'"
    )
    assert agreed.plan().change_count == 0
