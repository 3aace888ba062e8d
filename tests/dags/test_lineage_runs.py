"""Lineage as Airflow's OpenLineage provider takes it from tasks that ran."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from airflow.listeners import hookimpl
from airflow.providers.openlineage import conf
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk.listener import get_listener_manager
from enerflo_airflow.hook import open_account
from enerflo_airflow.lineage import WithLineage
from openlineage.client.serde import Serde

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.lineage import apply_lineage, checks_lineage
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import run_quality
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import result, run

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


class Taken:
    """Takes lineage as the provider's own listener does, and keeps it as JSON by task."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        task = task_instance.task
        dag_run = task_instance.get_template_context()["dag_run"]
        lineage = ExtractorManager().extract_metadata(
            dagrun=dag_run, task=task, task_instance_state="success", task_instance=task_instance
        )
        self.found[task.task_id] = {
            "inputs": [json.loads(Serde.to_json(one)) for one in lineage.inputs],
            "outputs": {
                one.name.partition(".")[2] or one.name: json.loads(Serde.to_json(one))
                for one in lineage.outputs
            },
            "run": {name: json.loads(Serde.to_json(one)) for name, one in lineage.run_facets.items()},
        }


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    """The provider set up to send somewhere, and what it would send."""
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "console"}')
    for name in ("is_disabled", "transport", "config_path"):
        cached = getattr(conf, name)
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    listener = Taken()
    manager = get_listener_manager()
    manager.add_listener(listener)
    yield listener
    manager.pm.unregister(listener)


def sources(output: Any, column: str) -> list[tuple[str, str]]:
    fields = output["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return [(one["name"].rpartition(".")[2].rpartition("/")[2], one["field"]) for one in fields]


def test_a_poll_says_which_path_fills_which_column_and_a_reconciliation_what_it_compared(
    connected: Setting, taken: Taken
) -> None:
    counts = result(run("enerflo_poll"), "read_enerflo")
    poll = taken.found["read_enerflo"]
    assert {one["name"] for one in poll["inputs"]} >= {"/api/v3/installs"}
    assert {one["namespace"] for one in poll["inputs"]} == {connected.sandbox_url}
    installs = poll["outputs"]["enerflo.installs"]
    assert installs["namespace"].startswith("postgres://")
    assert sources(installs, "status_name") == [("installs", "status_name")]
    assert sources(installs, "battery_configuration") == [("installs", "equipment.battery")]
    assert installs["outputFacets"]["outputStatistics"]["rowCount"] > 50
    milestones = poll["outputs"]["enerflo.milestones"]
    assert sources(milestones, "title") == [("installs", "all_milestones.milestone.title")]
    told = poll["run"]["enerflo_sync_counts"]
    assert (told["read"], told["applied"]) == (counts["read"], counts["applied"])
    run("enerflo_reconcile")
    found = taken.found["compare_with_crm"]
    names = {one["name"].partition(".")[2] for one in found["inputs"]}
    assert names >= {"enerflo.installs", "crm.installs", "enerflo.milestones", "crm.milestones"}
    assert found["outputs"]["sync.differences"]["outputFacets"]["outputStatistics"]["rowCount"] > 0


def test_an_apply_says_which_column_fills_which_of_the_crm_and_checks_what_they_found(
    connected: Setting, taken: Taken
) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    path.write_text(path.read_text().replace("mode: report", "mode: crm", 1))
    with closing(open_account("default", reads_enerflo=True)) as opened:
        run_poll(opened)
        checks = WithLineage()
        checks.keep_lineage(checks_lineage, opened, run_quality(opened, with_expectations=False))
        (plan, *_) = run_plan(opened)
        run_approve(opened, plan.plan_hash, by="Ada")
        report = run_apply(opened, plan.plan_hash)
        found = apply_lineage(opened, report)
    assert found.counts["applied"] == report.applied > 0
    (installs,) = [one for one in found.outputs if one.dataset.name.endswith(".crm.installs")]
    ((source, column),) = installs.columns["status"]
    assert (source.name.partition(".")[2], column) == ("enerflo.installs", "status_name")
    assert source in found.inputs
    # Enerflo is not written in this mode.
    assert {one.dataset.namespace for one in found.outputs} == {source.namespace}
    (orders,) = checks.get_openlineage_facets_on_complete(None).inputs
    asserted = json.loads(Serde.to_json(orders))["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {"panel_count_range", "status_known"} <= {one["assertion"] for one in asserted}
    assert all(one["actual"].endswith("fail") for one in asserted)


def test_an_apply_that_did_nothing_and_a_column_that_is_not_written_are_in_no_lineage(
    connected: Setting,
) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    text = path.read_text().replace("mode: report", "mode: crm", 1)
    status = "      status: {enerflo: status_name,"
    assert status in text
    path.write_text(text.replace(status, f"{status} direction: to_enerflo,", 1))
    with closing(open_account("default", reads_enerflo=True)) as opened:
        run_poll(opened)
        (plan, *_) = run_plan(opened)
        run_approve(opened, plan.plan_hash, by="Ada")
        found = apply_lineage(opened, run_apply(opened, plan.plan_hash))
        again = run_apply(opened, plan.plan_hash)
        nothing = apply_lineage(opened, again)
    (installs,) = [one for one in found.outputs if one.dataset.name.endswith(".crm.installs")]
    assert "status" not in installs.columns
    assert len(installs.columns) > 3
    # The report of the second apply has the counts of the first.
    assert again.already
    assert again.applied > 0
    assert (set(nothing.counts.values()), nothing.inputs, nothing.outputs) == ({0}, [], [])


def test_an_apply_of_a_copy_writes_the_outbox_and_not_the_copy(connected: Setting) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    text = path.read_text().replace("mode: report", "mode: crm", 1)
    table = "    crm_table: crm.installs\n"
    assert table in text
    path.write_text(text.replace(table, f"{table}    write_to: changes\n", 1))
    with closing(open_account("default", reads_enerflo=True)) as opened:
        run_poll(opened)
        (plan, *_) = run_plan(opened)
        run_approve(opened, plan.plan_hash, by="Ada")
        report = run_apply(opened, plan.plan_hash)
        found = apply_lineage(opened, report)
    assert report.handed_over > 0
    outputs = {one.dataset.name.partition(".")[2]: one for one in found.outputs}
    assert "crm.installs" not in outputs
    assert "crm.milestones" in outputs
    sources = {
        (source.name.partition(".")[2], field)
        for source, field in outputs["sync.crm_changes"].columns["after"]
    }
    assert ("enerflo.installs", "status_name") in sources
    assert {source for source, _ in sources} == {"enerflo.installs"}


def test_a_check_that_applied_to_no_order_has_not_passed(connected: Setting) -> None:
    """As of a check that was added since: every order counts as before, until one is checked."""
    with closing(open_account("default", reads_enerflo=True)) as opened:
        run_poll(opened)
        report = run_quality(opened, with_expectations=False)
        first, *others = report.checks
        unjudged = msgspec.structs.replace(first, checked=0, failed=0)
        told = checks_lineage(opened, msgspec.structs.replace(report, checks=[unjudged, *others]))
    names = [one.name for one in told.checks]
    assert first.check not in names
    assert names


def test_without_a_provider_that_sends_nothing_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task, asked = WithLineage(), []
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__DISABLED", "True")
    task.keep_lineage(lambda *_: asked.append(1), None, None)  # type: ignore[arg-type]
    assert (asked, task.get_openlineage_facets_on_complete(None)) == ([], None)


def test_a_lineage_that_cannot_be_found_fails_no_task(taken: Taken, caplog: pytest.LogCaptureFixture) -> None:
    task = WithLineage()
    task.keep_lineage(lambda *_: 1 / 0, None, None)  # type: ignore[arg-type]
    assert task.get_openlineage_facets_on_complete(None) is None
    assert "lineage not sent error=ZeroDivisionError" in caplog.text
