"""Every task of ours has a button that leads to the page that matters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from enerflo_airflow.links import FreshnessLink, InboxLink, OverviewLink, RunLink
from enerflo_airflow.plugin import EnerfloReportsPlugin

from tests.airflow_environment import DAGS

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


def test_each_operator_of_ours_has_a_button_and_airflow_knows_them_all() -> None:
    known = {type(link) for link in EnerfloReportsPlugin.operator_extra_links}
    tasks = [task for dag in DagBag(dag_folder=str(DAGS)).dags.values() for task in dag.tasks]
    ours = [
        task
        for task in tasks
        if getattr(task, "operator_class", type(task)).__module__.startswith("enerflo_airflow")
    ]
    assert len(ours) > 15
    for task in ours:
        links = {type(link) for link in task.operator_extra_links}
        assert links, task
        assert links <= known, task


@pytest.mark.parametrize(
    ("link", "dag_id", "address"),
    [
        (FreshnessLink(), "enerflo_poll", "/enerflo/freshness/default"),
        (FreshnessLink(), "enerflo_poll__west", "/enerflo/freshness/west"),
        (InboxLink(), "enerflo_replay__a__b", "/enerflo/inbox/a__b"),
        (OverviewLink(), "enerflo_reconcile", "/enerflo/overview/default"),
        (
            RunLink(),
            "enerflo_backfill",
            "/enerflo/run?dag_id=enerflo_backfill&run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00",
        ),
    ],
)
def test_a_button_leads_to_the_page_of_its_account(link: Any, dag_id: str, address: str) -> None:
    key: Any = SimpleNamespace(dag_id=dag_id, run_id="manual__2026-01-01T00:00:00+00:00")
    assert link.get_link(None, ti_key=key) == f"/plugin/enerflo-reports{address}"
