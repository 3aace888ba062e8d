"""The typed tables for notebooks: what they hold, that they are masked, and how they take little memory."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from enerflo_sync import frames
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk, desk, polled_warehouse

__all__ = ["desk", "polled_warehouse"]


@pytest.fixture
def account(desk: Desk) -> AccountContext:
    """An account with a plan that was applied, a later edit of the CRM, and a reconciliation that found it."""
    desk.switched_on("both")
    desk.carried()
    desk.sql("update crm.installs set panel_count = panel_count + 1, updated_at = now()")
    run_reconcile(desk.context)
    run_plan(desk.context)
    return desk.context


def test_differences_are_those_of_the_newest_reconciliation(account: AccountContext, desk: Desk) -> None:
    found = frames.differences(account)
    stored = desk.sql(
        "select * from sync.differences where reconciliation_id ="
        " (select reconciliation_id from sync.reconciliations order by compared_until desc limit 1)"
    )
    assert len(found) == len(stored) > 0
    assert {str(kind) for kind in found.dtypes} == {"string", "object", "boolean"}
    assert set(found.table_name) == {row["table_name"] for row in stored}
    assert set(frames.differences(account, table="installs").field) == {"panel_count"}
    assert frames.differences(account, cause="conflict").empty


def test_the_ledger_has_every_decision_with_its_times(account: AccountContext, desk: Desk) -> None:
    found = frames.ledger(account)
    assert len(found) == desk.one("select count(*) from sync.ledger") > 0
    assert str(found.dtypes["ledger_id"]) == "Int64"
    assert str(found.dtypes["recorded_at"]) == "datetime64[us, UTC]"
    assert found.ledger_id.is_monotonic_increasing
    assert set(frames.ledger(account, decision="applied").decision) == {"applied"}
    assert frames.ledger(account, since=datetime(2100, 1, 1, tzinfo=UTC)).empty


def test_a_plan_is_the_newest_or_the_one_that_is_named(account: AccountContext) -> None:
    newest = frames.plan(account)
    assert set(newest.field) == {"panel_count"}
    (plan_hash,) = set(newest.plan_hash)
    pd.testing.assert_frame_equal(frames.plan(account, plan_hash[:12]), newest)


def test_installs_have_every_column_of_the_mirror_typed(account: AccountContext, desk: Desk) -> None:
    found = frames.installs(account)
    assert len(found) == desk.one("select count(*) from enerflo.installs where deleted_at is null")
    assert str(found.dtypes["panel_count"]) == "Int64"
    assert str(found.dtypes["updated_at"]) == "datetime64[us, UTC]"
    assert found.panel_count.sum() == desk.one("select sum(panel_count) from enerflo.installs")
    desk.sql(
        "update enerflo.installs set deleted_at = now() where install_id = :i", i=int(found.install_id[0])
    )
    assert len(frames.installs(account)) == len(found) - 1
    assert len(frames.installs(account, deleted=True)) == len(found)


def test_explain_says_the_sentences_of_the_command(account: AccountContext, desk: Desk) -> None:
    install_id = desk.one("select max(install_id) from enerflo.installs")
    found = frames.explain(account, "install", str(install_id), field="panel_count")
    assert set(found.field) == {"panel_count"}
    assert len(found) > 1


def names_in(found: pd.DataFrame, names: set[Any]) -> bool:
    return any(str(name) in found.to_csv() for name in names)


def test_personal_data_is_masked_unless_somebody_asks_by_name(account: AccountContext, desk: Desk) -> None:
    emails = {row["email"] for row in desk.sql("select email from crm.leads where email is not null")}
    customers = {row["customer_name"] for row in desk.sql("select customer_name from enerflo.installs")}
    for word in ("once.", "twice."):
        desk.sql(f"update crm.leads set email = '{word}' || email, updated_at = now()")
        if word == "once.":
            desk.carried()
    desk.sql("update crm.installs set customer_name = 'The ' || customer_name, updated_at = now()")
    run_reconcile(account)
    run_plan(account)
    assert not names_in(frames.ledger(account), emails)
    assert not names_in(frames.differences(account), customers)
    assert not names_in(frames.plan(account), emails)
    assert not names_in(frames.installs(account), customers)
    assert desk.one("select count(*) from sync.reveals") == 0
    assert names_in(frames.ledger(account, reveal="Pat"), emails)
    assert names_in(frames.differences(account, reveal="Pat"), customers)
    assert names_in(frames.plan(account, reveal="Pat"), emails)
    assert names_in(frames.installs(account, reveal="Pat"), customers)
    assert {row["who"] for row in desk.sql("select who from sync.reveals")} == {"Pat"}
    assert desk.one("select count(*) from sync.reveals") == 4


def test_chunks_hold_the_same_rows_and_no_more_than_asked_for(account: AccountContext) -> None:
    for read in (frames.differences, frames.ledger, frames.plan, frames.installs):
        chunks = list(read(account, chunk_rows=3))
        assert max(map(len, chunks)) <= 3
        pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), read(account))


def test_of_nothing_there_is_an_empty_table_with_the_same_types(account: AccountContext, desk: Desk) -> None:
    full = frames.ledger(account)
    desk.sql("truncate sync.ledger")
    empty = frames.ledger(account)
    assert empty.empty
    assert list(empty.dtypes) == list(full.dtypes)
    assert [len(one) for one in frames.ledger(account, chunk_rows=3)] == [0]


def test_what_is_not_there_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="Run enerflo-sync reconcile first"):
        frames.differences(desk.context)
    with pytest.raises(ConfigurationError, match="Run enerflo-sync plan first"):
        frames.plan(desk.context)
    run_reconcile(desk.context)
    with pytest.raises(ConfigurationError, match="there is no cause unknown"):
        frames.differences(desk.context, cause="unknown")
    with pytest.raises(ConfigurationError, match="0 rows are no chunk"):
        frames.ledger(desk.context, chunk_rows=0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r'Install it with "enerflo-sync\[pandas\]"'):
        frames.installs(desk.context)
