"""A copy is made of one database in another: each has its own errors, and its own moment."""

from __future__ import annotations

import pytest

from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.copies.rows import COPY, Rows

everywhere = pytest.mark.parametrize("elsewhere", ["duckdb", "mariadb", "postgresql"], indirect=True)


@everywhere
def test_a_lock_in_the_warehouse_is_told_as_the_warehouses(rows: Rows) -> None:
    rows.row("k", title="T")
    rows.refresh()
    rows.elsewhere.sql("update crm.rows set title = 'Edited'")
    url = rows.engine.url.update_query_dict({"options": "-c lock_timeout=1s"})
    engine = warehouse_engine(url.render_as_string(hide_password=False))
    with rows.engine.connect() as other:
        other.exec_driver_sql(f"lock table {COPY} in share mode")
        with pytest.raises(RetriableError, match=r"database\.locked") as told:
            refresh_copies(engine, rows.crm, rows.config, "default")
    engine.dispose()
    assert told.value.where == "warehouse, during copy"


@everywhere
def test_a_right_that_lacks_in_the_warehouse_is_told_as_the_warehouses(rows: Rows) -> None:
    rows.row("k", title="T")
    role = f"copier_{rows.engine.url.database}"
    rows.sql(f"create role {role} login")
    try:
        rows.sql(f"grant pg_read_all_data, pg_write_all_data to {role}")
        engine = warehouse_engine(rows.engine.url.set(username=role).render_as_string(hide_password=False))
        with pytest.raises(ConfigurationError, match="doctor --grants"):
            refresh_copies(engine, rows.crm, rows.config, "default")
        engine.dispose()
    finally:
        rows.sql(f"drop owned by {role}")
        rows.sql(f"drop role {role}")


@everywhere
def test_a_copy_is_no_newer_than_it_says(rows: Rows) -> None:
    for number in range(20):
        rows.row(f"k{number}", title="T", milestone=number)
    edited_at = []

    def edit_during_the_load(_name: str, _done: int, _total: int) -> None:
        if not edited_at:
            edited_at.append(rows.sql("select clock_timestamp() as now")[0]["now"])
            rows.elsewhere.sql("update crm.rows set title = 'Edited' where own = 'k7'")

    (report,) = refresh_copies(rows.engine, rows.crm, rows.config, "default", progress=edit_during_the_load)
    (found,) = rows.sql(f"select count(*) as edited from {COPY} where title = 'Edited'")
    assert edited_at
    assert found["edited"] == 1 or report.read_at < edited_at[0]
