"""A run that is not done in time is marked by Airflow, and its callback names it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagRun
from airflow.models.deadline import Deadline
from airflow.triggers.callback import CallbackTrigger
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType

from enerflo_sync.shipped import CONFIG_VARIABLE, shipped
from tests.airflow_environment import DAGS

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]
MINUTES = 7


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagBag]:
    config = tmp_path / "sync.yaml"
    config.write_text(
        f"{shipped('sync.yaml').read_text()}\ndefaults:\n  airflow: {{deadline_minutes: {MINUTES}}}\n"
    )
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    yield DagBag(dag_folder=str(DAGS), bundle_path=DAGS, bundle_name="dags-folder")
    with create_session() as session:
        session.execute(sa.delete(DagRun).where(DagRun.run_id == "late"))


def test_every_dag_has_the_deadline_but_those_that_wait_for_people(bag: DagBag) -> None:
    assert bag.import_errors == {}
    without = {dag_id for dag_id, dag in bag.dags.items() if not dag.deadline}
    assert without == {"enerflo_approve", "enerflo_backfill"}


def test_a_run_that_is_late_is_marked_and_named(bag: DagBag, caplog: pytest.LogCaptureFixture) -> None:
    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        sync_bag_to_db(bag, "dags-folder", None, session=session)
    # As an asset starts it: without a logical date.
    trigger_dag("enerflo_poll", run_id="late", triggered_by=DagRunTriggeredByType.CLI)
    with create_session() as session:
        run = session.scalars(sa.select(DagRun).where(DagRun.run_id == "late")).one()
        deadline = session.scalars(sa.select(Deadline).where(Deadline.dagrun_id == run.id)).one()
        assert run.queued_at is not None
        assert deadline.deadline_time - run.queued_at == timedelta(minutes=MINUTES)
        # As the scheduler does when that time has come.
        deadline.handle_miss(session)
        session.flush()
        assert deadline.missed
        kwargs = dict(deadline.callback.trigger.kwargs)
    trigger = CallbackTrigger(**kwargs)

    async def events() -> list[dict[str, object]]:
        return [event.payload async for event in trigger.run()]

    with caplog.at_level(logging.ERROR, "enerflo_airflow.deadlines"):
        last = asyncio.run(events())[-1]
    told = f"account=default dag_id=enerflo_poll run_id=late minutes={MINUTES}"
    assert (str(last["state"]), last["body"]) == ("success", told)
    assert f"run_overdue {told}" in caplog.text
