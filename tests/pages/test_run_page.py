"""The page of a DAG run: runs of Airflow's own loop on a real warehouse, under way, ended well and failed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from airflow.models import DagRun
from airflow.models.asset import AssetEvent
from airflow.models.xcom import XComModel
from airflow.sdk.execution_time.xcom import XCom
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState

from tests.pages.conftest import Visitor
from tests.pages.known_dags import address, forget_runs, ran, runs_of
from tests.pages.test_overview import words_of

pytestmark = pytest.mark.airflow
Visitors = Callable[..., Visitor]


def test_a_reconciliation_shows_its_verdict_and_leads_to_its_report(visitor: Visitors) -> None:
    pat = visitor("VIEWER")
    text = pat.text(ran("reconcile"))
    (row,) = pat.sql("select * from sync.reconciliations order by started_at desc limit 1")
    assert "Reconciliation ended well" in text
    assert f"<h1>{row['summary']['headline']}</h1>" in text
    assert f'href="/enerflo/reports/default/{row["reconciliation_id"]}"' in text
    assert f"run={row['reconciliation_id']}" in text
    assert "Compare the mirror with the CRM success" in words_of(text)
    assert "http-equiv" not in text
    with create_session() as session:
        event = session.scalars(sa.select(AssetEvent).order_by(AssetEvent.id.desc())).first()
    assert event is not None
    assert event.extra["reconciliation_id"] == row["reconciliation_id"]
    assert event.extra["unexplained"] == row["unexplained"]


def test_a_run_that_failed_says_why_and_which_task(
    visitor: Visitors, monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    pat.sql("alter table crm.installs rename to installs_elsewhere")
    text = pat.text(ran("reconcile"))
    words = words_of(text)
    assert "Reconciliation failed" in words
    assert "Compare the mirror with the CRM failed" in words
    (note,) = re.findall(r'<p class="remark">(.*?)</p>', text)
    assert "installs" in note


def test_an_estimate_leads_to_the_backfill_of_the_same_window(visitor: Visitors) -> None:
    pat = visitor("USER", "kim")
    page = ran("backfill", choice="window", start="2020-01-01", end="2026-12-31", estimate_only=True)
    text = pat.text(page)
    words = words_of(text)
    assert "Its estimate 2020-01-01" in words
    assert re.search(r"about \d+ installs by [\d,]+ requests", words)
    (action,) = re.findall(r'<form class="acts after" method="post" action="/enerflo/([^"]+)"', text)
    assert "Start it" not in visitor("VIEWER").text(page)
    pat = visitor("USER", "kim")
    pat.sql("update sync.backfills set state = 'reading'")
    pat.sql(
        "update sync.backfill_chunks set state = 'done' where chunk = (select min(chunk) from sync.backfill_chunks)"
    )
    assert re.search(r" 1 of \d+ parts", words_of(pat.text(page)))
    pat.sql("update sync.backfills set state = 'estimated'")
    forget_runs()
    answer = pat.post(action, "overview/default")
    again = pat.post(action, "overview/default")
    (run,) = runs_of("backfill")
    assert run.conf["start"] == "2020-01-01"
    assert run.conf["estimate_only"] is False
    # How large a backfill may be without a person's approval is for sync.yaml to say.
    assert "limit" not in run.conf
    assert run.triggering_user_name == "kim"
    assert again.status_code == answer.status_code == 303
    pat.sql("update sync.backfills set state = 'reading'")
    late = pat.post(action, "overview/default")
    assert late.status_code == 409
    assert "this backfill is reading by now" in late.text
    assert len(runs_of("backfill")) == 1


def test_a_run_under_way_says_so_and_looks_again(visitor: Visitors) -> None:
    pat = visitor("VIEWER")
    page = ran("reconcile")
    with create_session() as session:
        session.execute(sa.update(DagRun).values(state=DagRunState.RUNNING, end_date=None))
    text = pat.text(page)
    assert "Reconciliation is under way" in text
    assert '<meta http-equiv="refresh" content="5">' in text
    assert "This page looks again every 5 seconds." in text


def test_nothing_of_another_dag_is_read(visitor: Visitors, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("an XCom of another DAG was read")

    monkeypatch.setattr(XComModel, "deserialize_value", read)
    monkeypatch.setattr(XCom, "deserialize_value", read)
    answer = visitor("VIEWER").get(address("their_dag", "manual"))
    assert answer.status_code == 404
    assert "Not a run of enerflo-sync" in answer.text


@pytest.mark.parametrize("run_id", ["nope", "'; drop--", "<script>alert(1)", "x" * 10_000, "%00%"])
def test_a_run_that_is_not_there_is_said_so(visitor: Visitors, run_id: str) -> None:
    answer = visitor("VIEWER").get(address("enerflo_poll", run_id))
    assert answer.status_code == 404
    assert "No such run" in answer.text
    assert 'href="/enerflo/overview/default"' in answer.text
    assert "<script>alert" not in answer.text


def test_a_poll_shows_its_counts_and_reasons_the_gravest_first(visitor: Visitors) -> None:
    pat = visitor("VIEWER")
    text = pat.text(ran("poll"))
    words = words_of(text)
    (row,) = pat.sql(
        "select * from sync.runs where run_id like 'enerflo_poll/%' order by started_at desc limit 1"
    )
    assert f"Read {row['read']:,} " in words
    assert f"Quarantined {row['quarantined']:,} " in words
    groups = re.findall(r'<tr><th scope="row">(\w+)</th><td data-label="Reason">', text)
    order = ["failed", "incomplete", "quarantined", "skipped", "notice"]
    assert groups == sorted(groups, key=order.index)
    assert set(groups) == set(row["reasons"])
    assert "Poll ended, and left something undone" in words
    assert 'class="banner unsure"' in text
