"""Functions of a data team's own that ``airflow.callbacks`` has called when a task ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag
from airflow.models.variable import Variable
from airflow.utils.session import create_session

from tests.airflow_environment import DAGS
from tests.airflow_fixtures import Setting, warehouse_connection
from tests.dags.test_alert_runs import NOWHERE, ROUTES, texts
from tests.dags.test_runs import run, states
from tests.plugins.test_notifying import Posts, chat

__all__ = ["chat"]
pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

MODULE = """
from pathlib import Path

def note(context):
    with Path(__file__).with_suffix(".txt").open("a") as file:
        print(context["ti"].task_id, file=file)
"""
PAGED = "    airflow: {callbacks: {failure: %s, success: %s}, "


@pytest.fixture
def noted(connected: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which the function of the team's own writes the tasks that failed."""
    (tmp_path / "solar_alerts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(NOWHERE))
    sys.modules.pop("solar_alerts", None)
    with create_session() as session:
        session.execute(sa.delete(Variable).where(Variable.key.startswith("enerflo_failing")))
    return tmp_path / "solar_alerts.txt"


def configured(failure: str, success: str) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    text = (
        path.read_text().replace("routes: {}\n", ROUTES).replace("    airflow: {", PAGED % (failure, success))
    )
    assert failure in text
    path.write_text(text)


def test_a_function_of_the_teams_own_is_called_beside_the_message(noted: Path, chat: Posts) -> None:
    configured(failure="solar_alerts.note", success="nowhere.at_all")
    failed = run("enerflo_poll", is_last_try=True)
    assert states(failed)["read_enerflo"] == "failed"
    assert "read_enerflo" in noted.read_text().split()
    assert len(texts(chat)) == 1


def test_a_function_that_is_not_there_stops_no_dag_and_no_message(noted: Path, chat: Posts) -> None:
    configured(failure="solar_alerts.gone", success="nowhere.at_all")
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    assert "enerflo_poll" in bag.dags
    assert states(run("enerflo_poll", is_last_try=True))["read_enerflo"] == "failed"
    assert len(texts(chat)) == 1
    assert not noted.exists()
