"""The way back, whole DAG runs in process: a company over HTTP, a real warehouse, Airflow's own loop."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from enerflo_sandbox.server import SandboxServer
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import everything_kept_in_airflow, result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

NEVER_ASKED = (
    "changes: 500\n  percent: 10\n  backfill_changes: 100\n  nulling: true\n  deletions: true"
    "\n  new_mapping: true"
)
UNASKED = "changes: 100000\n  percent: 100\n  nulling: false\n  deletions: false\n  new_mapping: false"


@pytest.fixture
def switched(tmp_path: Path, connected: Setting) -> Any:
    """Edit the configuration that Airflow reads."""
    config = tmp_path / "sync.yaml"

    def edit(*edits: tuple[str, str]) -> None:
        text = config.read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        config.write_text(text)

    return edit


def rows(setting: Setting, query: str) -> list[Any]:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.connect() as connection:
        found = list(connection.execute(sa.text(query)).all())
    engine.dispose()
    return found


def test_in_report_mode_the_plan_is_made_and_nothing_else(connected: Setting) -> None:
    run("enerflo_poll")
    done = run("enerflo_sync")
    assert states(done) == {
        "make_plan": "success",
        "ask_a_person": "skipped",
        "apply_plan": "skipped",
        "verify_plan": "skipped",
    }
    assert str(done.state) == "success"
    plan = result(done, "make_plan")
    assert plan["changes"] > 0
    assert "mode report, nothing is written" in str(done.note)
    assert rows(connected, "select count(*) from sync.ledger") == [(0,)]
    assert f"/plugin/enerflo-reports/enerflo/plans/default/{plan['plan_hash']}" in everything_kept_in_airflow(
        done
    )


def test_a_plan_that_needs_nobody_is_applied_and_verified(
    connected: Setting, switched: Any, company: SandboxServer
) -> None:
    switched(("mode: report", "mode: crm"), (NEVER_ASKED, UNASKED))
    run("enerflo_poll")
    done = run("enerflo_sync")
    ended = {"make_plan": "success", "apply_plan": "success", "verify_plan": "success"}
    assert states(done) == {**ended, "ask_a_person": "skipped"}
    applied = result(done, "apply_plan")
    assert applied["applied"] > 0
    assert applied["waiting"] == 0
    assert applied["run_id"] == f"enerflo_sync/{done.run_id}"
    assert rows(connected, "select distinct decided_by from sync.ledger") == [("the approval rules",)]
    sealed = rows(connected, "select sum(row_count)::bigint from sync.ledger_seals")
    assert sealed == rows(connected, "select count(*) from sync.ledger")
    assert result(done, "verify_plan")["differing"] == 0
    assert f"{applied['applied']:,} applied" in str(done.note)
    again = run("enerflo_sync")
    assert states(again)["ask_a_person"] == "skipped"
    assert result(again, "make_plan")["changes"] == 0


def test_a_plan_that_needs_a_person_is_left_for_one_where_nobody_is_to_be_asked(
    connected: Setting, switched: Any
) -> None:
    switched(("mode: report", "mode: both"))
    run("enerflo_poll")
    done = run("enerflo_sync", ask=False)
    assert states(done)["ask_a_person"] == "skipped"
    assert states(done)["apply_plan"] == "skipped"
    assert rows(connected, "select state, needs_approval from sync.plans") == [("open", True)]
    assert rows(connected, "select count(*) from sync.ledger") == [(0,)]


def test_what_needs_nobody_is_written_while_the_rest_waits(connected: Setting, switched: Any) -> None:
    panels = "panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo"
    switched(
        ("mode: report", "mode: crm"),
        (NEVER_ASKED, UNASKED),
        (f"{panels}}}", f"{panels}, protected: true}}"),
    )
    run("enerflo_poll")
    apply(result(run("enerflo_sync", ask=False), "make_plan")["waiting"])
    edit(connected, "panel_count = 99")
    edit(connected, "panel_type = 'Typed by hand'")
    done = run("enerflo_sync", ask=False)
    ends = {"make_plan": "success", "ask_a_person": "skipped"}
    assert states(done) == {**ends, "apply_plan": "success", "verify_plan": "success"}
    planned = result(done, "make_plan")
    assert planned["plan_hash"] == planned["free"] != planned["waiting"]
    waiting = f"select state, change_count from sync.plans where plan_hash = '{planned['waiting']}'"
    assert rows(connected, waiting) == [("open", 1)]
    # A no of a person: this run and the next are green, and nothing waits any more.
    reject(planned["waiting"])
    after = run("enerflo_sync")
    assert str(after.state) == "success"
    assert states(after)["ask_a_person"] == "skipped"
    assert result(after, "make_plan")["changes"] == 0
    assert "1 refused before" in str(after.note)


def test_a_waiting_plan_is_asked_about_in_a_run_of_its_own(connected: Setting, switched: Any) -> None:
    switched(("mode: report", "mode: crm"))
    run("enerflo_poll")
    # So that Airflow knows the DAG that is to be started.
    known = run("enerflo_approve", plan_hash="00000000", is_last_try=True)
    assert str(known.state) == "failed"
    done = run("enerflo_sync")
    assert str(done.state) == "success"
    waiting = result(done, "make_plan")["waiting"]
    assert asking(waiting) == [(f"ask_{waiting[:16]}_1", {"plan_hash": waiting})]
    # Asked once, however often the same plan is made.
    again = run("enerflo_sync")
    assert states(again)["ask_a_person"] == "skipped"
    assert len(asking(waiting)) == 1


def test_a_run_that_asks_two_persons_goes_on_when_both_approved_elsewhere(
    connected: Setting, switched: Any
) -> None:
    from enerflo_airflow.hook import open_account

    two = "first_to_enerflo: true\n  second_person: true"
    switched(("mode: report", "mode: crm"), ("first_to_enerflo: true", two))
    run("enerflo_poll")
    plan_hash = result(run("enerflo_sync", ask=False), "make_plan")["waiting"]
    with closing(open_account("default")) as place:
        for name in ("Pat", "Sam"):
            run_approve(place, plan_hash, by=name)
    done = run("enerflo_approve", plan_hash=plan_hash)
    asked = {"ask_a_person": "success", "ask_a_second_person": "success"}
    assert states(done) == {
        "find_plan": "success",
        **asked,
        "apply_plan": "success",
        "verify_plan": "success",
    }
    assert rows(connected, "select distinct decided_by from sync.ledger") == [("Pat and Sam",)]
    assert "decided by Pat and Sam" in str(done.note)


def edit(setting: Setting, change: str) -> None:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                f"update crm.installs set {change}, updated_at = now() where enerflo_install_id = ("
                "select min(enerflo_install_id) from crm.installs where status = 'In progress'"
                " and panel_count <> 99)"
            )
        )
    engine.dispose()


def apply(plan_hash: str | None) -> None:
    """Let a person approve what differs from the beginning."""
    from enerflo_airflow.hook import open_account

    with closing(open_account("default", reads_enerflo=True)) as place:
        if plan_hash:
            run_apply(place, plan_hash, approved_by="Pat")


def reject(plan_hash: str) -> None:
    from enerflo_airflow.hook import open_account

    with closing(open_account("default")) as place:
        run_reject(place, plan_hash, by="Sam")


def asking(plan_hash: str) -> list[Any]:
    """Return the runs that were started to ask about a plan, and with which parameters."""
    with create_session() as session:
        query = sa.select(DagRun).where(
            DagRun.dag_id == "enerflo_approve", DagRun.run_id.like(f"ask_{plan_hash[:16]}%")
        )
        return [(one.run_id, one.conf) for one in session.scalars(query)]


def test_no_personal_data_reaches_airflow(connected: Setting, switched: Any) -> None:
    switched(("mode: report", "mode: crm"), (NEVER_ASKED, UNASKED))
    run("enerflo_poll")
    done = run("enerflo_sync")
    names = rows(connected, "select first_name || ' ' || last_name, email from enerflo.customers")
    kept = everything_kept_in_airflow(done) + str(done.note)
    assert len(names) > 5
    assert [text for row in names for text in row if text and text in kept] == []
