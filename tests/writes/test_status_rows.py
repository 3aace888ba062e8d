"""What becomes of an install's status on its way to either side: its spelling, a void, a status nobody has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile
from tests.writes.milestones import milestones_mapped

CONFIG = """
version: 1
accounts: {default: {mode: both}}
statuses: {voided: [Voided, 9]}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    void_in: [%s]
    fields:
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: %s}
      agent: {enerflo: agent_name, type: text, source_of_truth: enerflo}
"""
LONG_AGO = datetime.now(UTC) - timedelta(days=2)
UNKNOWN = "the company has no status of this name"
# The CRM's status, and the company's own spelling of it; None where the company has no such status.
TO_ENERFLO = {
    **{"On Hold": "On Hold", " on hold ": "On Hold", "ON HOLD": "On Hold"},
    **{"Voided": "Voided", "voided ": "Voided"},
    **{"Gone": None, "Elsewhere": None, "Nowhere": None},
}
# Enerflo's status with its id, and whether it voids the contract.
TO_CRM = {("Voided", 3): True, (" voided", 3): True, ("Cancelled", 9): True, ("Nowhere", 4): False}


@pytest.fixture
def tables(warehouse: sa.Engine) -> sa.Engine:
    statuses = [
        *[("default", 1, "On Hold", None), ("default", 2, "New", None), ("default", 3, "Voided", None)],
        # Of two that read alike the shorter one is meant.
        ("default", 7, "On Hold ", None),
        *[("default", 5, "Gone", LONG_AGO), ("other", 6, "Elsewhere", None)],
    ]
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (enerflo_install_id bigint primary key, status text, agent text,"
            " updated_at timestamptz)"
        )
        for account, number, name, deleted_at in statuses:
            connection.execute(
                sa.text(
                    "insert into enerflo.install_statuses (account, status_id, name, deleted_at, observed_at,"
                    " observed_by) values (:account, :number, :name, :deleted, now(), 'poll')"
                ),
                {"account": account, "number": number, "name": name, "deleted": deleted_at},
            )
    return warehouse


def put(tables: sa.Engine, number: int, mirror: tuple[str, int], crm: str, agent: str = "Ann") -> None:
    with tables.begin() as connection:
        connection.execute(
            sa.text(
                "insert into enerflo.installs (account, install_id, status_name, status_id, agent_name,"
                " observed_at, observed_by) values ('default', :n, :name, :id, :agent, :at, 'poll')"
            ),
            {"n": number, "name": mirror[0], "id": mirror[1], "agent": agent, "at": LONG_AGO},
        )
        connection.execute(
            sa.text("insert into crm.installs values (:n, :status, 'Ann', :at)"),
            {"n": number, "status": crm, "at": LONG_AGO},
        )


def decided(tables: sa.Engine, tmp_path: Path, void_in: str, policy: str) -> dict[int, Any]:
    """Return what is planned, or asked, of each install: field, direction and value, or the question."""
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % (void_in, policy))
    config = load_config(path, {})
    plan = make_plan(tables, config, "default", reconcile(tables, config, "default").reconciliation_id)
    with tables.connect() as connection:
        found: dict[int, Any] = {
            one.key["enerflo_install_id"]: (one.field, one.direction, one.after)
            for one in read_changes(connection, "default", plan.plan_hash)
        }
        for one in read_undecided(connection, "default", plan.plan_hash):
            assert one.key["enerflo_install_id"] not in found
            found[one.key["enerflo_install_id"]] = one.reason
    side = "Enerflo's" if policy == "crm" else "the CRM's install"
    assert set(plan.kept) <= {f"{side} may not be voided (void_in)"}
    return found


VOID_IN = ("", "crm", "enerflo", "crm, enerflo")


@pytest.mark.parametrize("void_in", VOID_IN)
def test_a_status_of_the_crm(tables: sa.Engine, tmp_path: Path, void_in: str) -> None:
    expected: dict[int, Any] = {}
    for number, (status, own) in enumerate(TO_ENERFLO.items(), 1):
        put(tables, number, ("New", 2), status)
        barred = own == "Voided" and "enerflo" not in void_in
        if not barred:
            expected[number] = UNKNOWN if own is None else ("status", "to_enerflo", own)
    # Of another field nobody asks whether the company has a status of that name.
    put(tables, 50, ("New", 2), "New", agent="Nowhere")
    expected[50] = ("agent", "to_crm", "Nowhere")
    assert decided(tables, tmp_path, void_in, "crm") == expected


@pytest.mark.parametrize("void_in", VOID_IN)
def test_a_status_of_enerflo(tables: sa.Engine, tmp_path: Path, void_in: str) -> None:
    expected: dict[int, Any] = {}
    for number, (mirror, voids) in enumerate(TO_CRM.items(), 1):
        # Nobody asks whether the company has the status that is overwritten.
        put(tables, number, mirror, "Elsewhere")
        if not voids or "crm" in void_in:
            expected[number] = ("status", "to_crm", mirror[0])
    put(tables, 50, ("Voided", 3), "Voided", agent="Bob")
    expected[50] = ("agent", "to_crm", "Bob")
    assert decided(tables, tmp_path, void_in, "enerflo") == expected


@pytest.mark.parametrize("item", [{"install_id": 1}, {"install_id": 2}])
def test_a_record_that_stands_in_quarantine_is_a_question(
    tables: sa.Engine, tmp_path: Path, item: dict[str, int]
) -> None:
    put(tables, 1, ("New", 2), "On Hold")
    with tables.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                " last_seen_at, count, state, table_name, key) values ('default', 'q', 'record', 'r', 'f', now(),"
                " now(), 1, 'open', 'installs', cast(:key as jsonb))"
            ),
            {"key": json.dumps(item)},
        )
    quarantined = item == {"install_id": 1}
    expected = "its record stands in quarantine" if quarantined else ("status", "to_enerflo", "On Hold")
    assert decided(tables, tmp_path, "", "crm") == {1: expected}


MILESTONES = milestones_mapped(
    "due_at: {enerflo: due_at, type: timestamp, source_of_truth: %s, direction: %s}",
)
UNREADABLE = "the CRM's value cannot be read as its declared type"


@pytest.mark.parametrize(
    ("policy", "direction", "outcome"),
    [
        ("crm", "both", UNREADABLE),
        # It is overwritten, or may not be sent: then nobody has to read it.
        ("enerflo", "both", "to_crm"),
        ("crm", "to_crm", None),
    ],
)
def test_a_text_that_is_no_time_is_a_question_where_it_would_be_sent(
    warehouse: sa.Engine, tmp_path: Path, policy: str, direction: str, outcome: str | None
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(MILESTONES % (policy, direction))
    config = load_config(path, {})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, due_at text,"
            " updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
        )
        connection.exec_driver_sql("insert into crm.milestones values (1, 1, 'soon', '2026-01-01')")
        connection.exec_driver_sql(
            "insert into enerflo.milestones (account, install_id, milestone_id, due_at, observed_at, observed_by)"
            " values ('default', 1, 1, '2026-05-01', '2026-01-01', 'poll')"
        )
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        changes = [one.direction for one in read_changes(connection, "default", plan.plan_hash)]
        asked = [one.reason for one in read_undecided(connection, "default", plan.plan_hash)]
    assert [*changes, *asked] == ([] if outcome is None else [outcome])


def test_a_day_of_the_crm_is_sent_as_the_moment_with_which_it_begins_in_the_mappings_zone(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(
        MILESTONES.replace("    fields:", "    time_zone: America/Denver\n    fields:") % ("crm", "both")
    )
    config = load_config(path, {})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, due_at date,"
            " updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
        )
        connection.exec_driver_sql("insert into crm.milestones values (1, 1, '2026-05-02', '2026-01-01')")
        connection.exec_driver_sql(
            "insert into enerflo.milestones (account, install_id, milestone_id, due_at, observed_at, observed_by)"
            " values ('default', 1, 1, '2026-05-01', '2026-01-01', 'poll')"
        )
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        changes = [(one.direction, one.after) for one in read_changes(connection, "default", plan.plan_hash)]
    assert changes == [("to_enerflo", "2026-05-02T06:00:00+00:00")]
