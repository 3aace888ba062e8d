"""A CRM table that something else loads anew each night: what plans write does not stay, and the doctor says so."""

from __future__ import annotations

import pytest

from enerflo_sync.crm.doctor import Finding, check_mapping
from tests.writes.conftest import Desk


def told(desk: Desk) -> list[Finding]:
    config, path = desk.context.config, desk.context.config_path
    with desk.engine.connect() as connection:
        found = check_mapping(connection, config, desk.context.account, path)
    return [one for one in found if "each time in place of the same value" in one.found]


@pytest.mark.parametrize("time", ["updated_at", "now()"], ids=["its own times", "new times"])
def test_values_that_a_nightly_load_takes_back_are_told(agreeing: Desk, time: str) -> None:
    agreeing.sql("create table crm.evening as select * from crm.installs")
    for install in agreeing.sql("select enerflo_install_id as id from crm.installs order by 1 limit 3"):
        agreeing.sql(
            "update enerflo.installs set contract_amount = contract_amount + 100 where install_id = :i",
            i=install["id"],
        )
    load = (
        "truncate crm.installs; insert into crm.installs select * from crm.evening;"
        f" update crm.installs set updated_at = {time}"
    )
    for _ in range(2):
        agreeing.carried()
        agreeing.sql(load)
    assert told(agreeing) == []
    agreeing.carried()
    (finding,) = told(agreeing)
    assert finding.severity == "warning"
    assert finding.found.startswith("3 values of crm.installs that plans wrote 3 times or more")


def test_a_value_that_goes_on_each_day_is_no_such_value(agreeing: Desk) -> None:
    install = agreeing.one("select min(enerflo_install_id) from crm.installs")
    for _ in range(4):
        agreeing.sql(
            "update enerflo.installs set contract_amount = contract_amount + 100 where install_id = :i",
            i=install,
        )
        agreeing.carried()
    assert told(agreeing) == []


def test_a_role_that_may_not_read_the_ledger_yet_is_told_the_rest(agreeing: Desk) -> None:
    config, path = agreeing.context.config, agreeing.context.config_path
    role = f"looks_{agreeing.engine.url.database}"
    agreeing.sql(f"create role {role}; grant usage on schema crm, enerflo to {role}")
    agreeing.sql(f"grant select on all tables in schema crm, enerflo to {role}")
    try:
        with agreeing.engine.connect() as connection:
            connection.exec_driver_sql(f"set role {role}")
            found = check_mapping(connection, config, agreeing.context.account, path)
            connection.exec_driver_sql("reset role")
        assert any("grant" in one.next_step for one in found)
    finally:
        agreeing.sql(f"drop owned by {role}; drop role {role}")
