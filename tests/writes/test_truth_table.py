"""Every line of the truth table (docs/policies.md), decided by a plan on PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.decision import Resolution
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import SourceOfTruth
from enerflo_sync.crm.truth_table import NEVER, Case, Value, cases
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile
from tests.writes.milestones import milestones_mapped

CONFIG = milestones_mapped(
    "due_at: {enerflo: due_at, type: timestamp, source_of_truth: %s, null_overwrites: %s}",
)
NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = {"A": 1, "B": 2, "C": 3}


def moment(value: Value) -> datetime | None:
    return None if value is None else datetime(2026, 1, DAYS[value], tzinfo=UTC)


def shown(value: Any) -> str | None:
    return next((name for name in DAYS if value == moment(name).isoformat()), None)  # type: ignore[union-attr]


def put(connection: sa.Connection, number: int, case: Case) -> None:
    hour = timedelta(hours=1)
    times = (NOW - 5 * hour, NOW - 3 * hour) if case.crm_later else (NOW - 3 * hour, NOW - 5 * hour)
    connection.execute(
        sa.text(
            "insert into enerflo.milestones (account, install_id, milestone_id, due_at, observed_at, observed_by)"
            " values ('default', 1, :number, :value, :at, 'poll')"
        ),
        {"number": number, "value": moment(case.enerflo), "at": times[0]},
    )
    connection.execute(
        sa.text("insert into crm.milestones values (1, :number, :value, :at)"),
        {"number": number, "value": moment(case.crm), "at": times[1]},
    )
    key = json.dumps({"enerflo_install_id": 1, "milestone_id": number})
    known = [] if case.base == NEVER else [("default", "milestones", "due_at", case.base)]
    # What another account, another table or another field has under this key is no base of this one.
    strangers = [
        ("other", "milestones", "due_at"),
        ("default", "notes", "due_at"),
        ("default", "milestones", "title"),
    ]
    for account, table, field, base in [*known, *((*stranger, case.enerflo) for stranger in strangers)]:
        value = None if base is None else json.dumps(moment(base).isoformat())  # type: ignore[union-attr]
        named = {"account": account, "table": table, "field": field, "key": key, "at": NOW - 24 * hour}
        connection.execute(
            sa.text(
                "insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by) values"
                " (:account, :table, cast(:key as jsonb), :field, cast(:value as jsonb), :at, 'comparison')"
            ),
            {**named, "value": value},
        )
    for account, table, field in strangers:
        connection.execute(
            sa.text(
                "insert into sync.agreed_twins (account, table_name, key, field, seen_at)"
                " values (:account, :table, cast(:key as jsonb), :field, :at)"
            ),
            {"account": account, "table": table, "field": field, "key": key, "at": NOW},
        )


@pytest.fixture
def tables(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, due_at timestamptz,"
            " updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
        )
    return warehouse


@pytest.mark.parametrize("null_overwrites", [False, True], ids=["null keeps", "null overwrites"])
@pytest.mark.parametrize("policy", SourceOfTruth)
def test_every_case_is_decided_as_the_table_says(
    tables: sa.Engine, tmp_path: Path, policy: SourceOfTruth, null_overwrites: bool
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % (policy, str(null_overwrites).lower()))
    config = load_config(path, {})
    wanted = [case for case in cases() if (case.policy, case.null_overwrites) == (policy, null_overwrites)]
    assert len(wanted) == 26
    with tables.begin() as connection:
        for number, case in enumerate(wanted):
            put(connection, number, case)
    report = reconcile(tables, config, "default")
    plan = make_plan(tables, config, "default", report.reconciliation_id)
    with tables.connect() as connection:
        changes = {c.key["milestone_id"]: c for c in read_changes(connection, "default", plan.plan_hash)}
        sources = dict(
            connection.execute(
                sa.text("select (key ->> 'milestone_id')::int, source_value from sync.plan_changes")
            ).all()
        )
        asked = {one.key["milestone_id"] for one in read_undecided(connection, "default", plan.plan_hash)}
    for number, case in enumerate(wanted):
        outcome, rule = case.decided()
        change = changes.get(number)
        if outcome in {Resolution.TO_CRM, Resolution.TO_ENERFLO}:
            assert change is not None, case
            to_crm = outcome is Resolution.TO_CRM
            old, new = (case.crm, case.enerflo) if to_crm else (case.enerflo, case.crm)
            assert (change.direction, change.rule, change.policy) == (outcome, rule, policy), case
            assert (shown(change.before), shown(change.after)) == (old, new), case
            assert shown(sources[number]) == new, case
        else:
            assert change is None, case
            assert (number in asked) is (outcome is Resolution.REVIEW), case
    kept = sum(case.decided()[0] is Resolution.KEEP for case in wanted)
    assert sum(plan.kept.values()) == kept


def test_the_table_has_every_outcome() -> None:
    assert {case.decided()[0] for case in cases()} == set(Resolution)
