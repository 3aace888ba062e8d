"""A view with a condition of its own hides rows of its table: no second row is made of a hidden one."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.hidden_rows import HIDDEN_BY_VIEW, MAY_BE_BEHIND_VIEW
from tests.writes.conftest import Desk

COLUMNS = """deal_id, customer_name, status, system_size_kw, panel_type, panel_count, battery_configuration,
 contract_amount, updated_at"""
SHOWN = "status is distinct from 'Elsewhere'"
KEPT = f"select enerflo_install_id, {COLUMNS} from crm.kept where {SHOWN}"


def kept_apart(desk: Desk, *views: str) -> None:
    """Let the mapped relation be the last of some views over the table of installs, which has no key."""
    desk.sql("alter table crm.installs rename to kept")
    desk.sql("alter table crm.kept drop constraint if exists installs_pkey cascade")
    for view in views:
        desk.sql(view)
    desk.switched_on("crm", ("in_flight_minutes: 30", "in_flight_minutes: 0"))


def hidden_and_missing(desk: Desk, key: str = "enerflo_install_id") -> tuple[int, int]:
    hidden, missing = desk.world.create_install(), desk.world.create_install()
    desk.sql(
        f"insert into crm.kept ({key}, status, updated_at) values (:i, 'Elsewhere', now())",
        i=hidden,
    )
    run_poll(desk.context)
    return hidden, missing


def made(desk: Desk, *ids: int, key: str = "enerflo_install_id") -> list[int]:
    return [desk.one(f"select count(*) from crm.kept where {key} = :i", i=one) for one in ids]


def reasons(desk: Desk) -> list[str | None]:
    plan = run_plan(desk.context)[0]
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    return [one.reason for one in desk.undecided(plan) if one.table_name == "installs"]


@pytest.mark.parametrize(
    "views",
    [
        pytest.param([f"create view crm.installs as {KEPT}"], id="view"),
        pytest.param(
            [f"create view crm.below as {KEPT}", "create view crm.installs as select * from crm.below"],
            id="view on a view",
        ),
        pytest.param(
            [
                "create table crm.hidden_words (word text)",
                "insert into crm.hidden_words values ('Elsewhere')",
                f"create view crm.installs as select enerflo_install_id, {COLUMNS} from crm.kept"
                " where coalesce(status, '') not in (select word from crm.hidden_words)",
            ],
            id="view that reads another table",
        ),
    ],
)
def test_no_second_row_is_made_of_one_that_a_view_hides(agreeing: Desk, views: list[str]) -> None:
    kept_apart(agreeing, *views)
    hidden, missing = hidden_and_missing(agreeing)
    assert reasons(agreeing) == [HIDDEN_BY_VIEW]
    assert made(agreeing, hidden, missing) == [1, 1]


def test_where_the_view_gives_the_key_another_name_no_row_is_made(agreeing: Desk) -> None:
    kept_apart(agreeing)
    agreeing.sql("alter table crm.kept rename enerflo_install_id to site")
    agreeing.sql(
        f"create view crm.installs as select site as enerflo_install_id, {COLUMNS} from crm.kept where {SHOWN}"
    )
    hidden, missing = hidden_and_missing(agreeing, "site")
    assert reasons(agreeing) == [MAY_BE_BEHIND_VIEW] * 2
    assert made(agreeing, hidden, missing, key="site") == [1, 0]


def test_a_view_that_shows_every_row_holds_no_new_row_back(agreeing: Desk) -> None:
    kept_apart(agreeing)
    agreeing.sql("alter table crm.kept rename enerflo_install_id to site")
    agreeing.sql(f"create view crm.installs as select site as enerflo_install_id, {COLUMNS} from crm.kept")
    new = agreeing.world.create_install()
    run_poll(agreeing.context)
    assert reasons(agreeing) == []
    assert made(agreeing, new, key="site") == [1]
