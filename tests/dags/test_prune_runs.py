"""The DAG that prunes, whole runs in process."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


def test_a_run_deletes_what_is_too_old_and_notes_how_much(connected: Setting) -> None:
    engine = warehouse_engine(connected.warehouse_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.api_calls (account, endpoint, hour, calls)"
                " values ('default', 'old', now() - interval '2 years', 1)"
            )
        )
    first = run("enerflo_prune")
    assert states(first)["prune"] == "success"
    assert result(first, "prune")["kinds"]["runs"]["rows"] == 1
    assert str(first.note) == "deleted runs 1"
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from sync.api_calls")) == 0
        told = connection.execute(sa.text("select kind, rows from sync.prunings")).all()
    engine.dispose()
    assert told == [("runs", 1)]
