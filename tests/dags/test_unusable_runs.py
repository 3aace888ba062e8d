"""Of an account whose own file holds a mistake no DAG runs: another DAG tells its people, once, and of the end."""

from __future__ import annotations

import inspect
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager
from airflow.models import DagModel, DagRun
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from enerflo_airflow.accounts import look_again
from sqlalchemy.orm import Session

from tests.airflow_environment import DAGS
from tests.airflow_fixtures import Setting
from tests.dags.test_alert_runs import chat, remembered, texts
from tests.dags.test_runs import run, states
from tests.plugins.test_notifying import Posts

__all__ = ["chat"]
BUNDLE = "dags-folder"
pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

ROUTES = """\
routes:
    chat: {events: [account_unusable], http: {connection: chat}}
    others: {accounts: [east], http: {connection: chat}}
    failures: {events: [run_failed], http: {connection: chat}}
"""


@pytest.fixture
def accounts(connected: Setting) -> Path:
    """The folder of the accounts' files, with ``east``, ``south`` and ``west``, which is wrong."""
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    path.write_text(path.read_text().replace("routes: {}\n", ROUTES))
    folder = path.parent / "accounts"
    folder.mkdir()
    for name in ("east", "south"):
        (folder / f"{name}.yaml").write_text("{}\n")
    (folder / "west.yaml").write_text("mode: report\nmod: both\n")
    with create_session() as session:
        session.execute(sa.delete(Variable).where(Variable.key.startswith("enerflo_failing")))
    return folder


def subjects(chat: Posts) -> list[str]:
    return sorted(text.splitlines()[0] for text in texts(chat))


def test_an_account_that_cannot_be_used_is_told_once_with_file_line_and_remedy_and_so_is_its_end(
    accounts: Path, chat: Posts
) -> None:
    failed = run("enerflo_accounts")
    assert states(failed) == {"read_accounts": "failed"}
    assert f"{accounts}/west.yaml:2: accounts.west.mod: found the unknown option mod" in str(failed.note)
    (text,) = texts(chat)
    subject, *lines = text.splitlines()
    assert subject == "Enerflo west: its configuration cannot be read"
    assert lines[0] == "The configuration of an account cannot be read: none of its jobs runs."
    assert any(f"- {accounts}/west.yaml:2: accounts.west.mod: " in line for line in lines)
    assert any("did you mean mode?" in line for line in lines)
    assert "Runbook: docs/runbook.md#account_unusable" in lines
    assert lines[-1].startswith("http://localhost:8080/dags/enerflo_accounts/runs/manual__")
    # The mistake of another account is news, and the same one is none.
    (accounts / "south.yaml").write_text("- no map\n")
    assert str(run("enerflo_accounts").state) == "failed"
    assert subjects(chat) == ["Enerflo south: its configuration cannot be read"]
    (accounts / "west.yaml").write_text("{}\n")
    (accounts / "south.yaml").unlink()
    assert str(run("enerflo_accounts").state) == "success"
    assert subjects(chat) == [
        "Enerflo south: resolved: there is no such account any more",
        "Enerflo west: resolved: its configuration can be read again",
    ]
    assert remembered() == []
    run("enerflo_accounts")
    assert texts(chat) == []


def test_a_route_that_was_away_is_told_by_the_next_run(accounts: Path, chat: Posts) -> None:
    chat.status = 500
    run("enerflo_accounts")
    texts(chat)
    chat.status = 200
    run("enerflo_accounts")
    assert len(texts(chat)) == 1
    (accounts / "west.yaml").write_text("{}\n")
    chat.status = 500
    run("enerflo_accounts")
    texts(chat)
    chat.status = 200
    run("enerflo_accounts")
    assert [text.split()[2] for text in texts(chat)] == ["resolved:"]
    assert remembered() == []


def test_the_other_accounts_go_on(accounts: Path) -> None:
    assert states(run("enerflo_poll"))["read_enerflo"] == "success"


def _runs_to_examine(session: Session) -> list[DagRun]:
    """The runs that Airflow's scheduler looks at; 3.4 has it say whether it wants their tags."""
    ask = DagRun.get_running_dag_runs_to_examine
    more = {"eagerly_load_dag_tags": False} if "eagerly_load" in str(inspect.signature(ask)) else {}
    return list(ask(session=session, **more))


def test_a_run_that_waits_goes_on_when_the_file_is_right_again(accounts: Path) -> None:
    """As Airflow's DAG processor and scheduler see it: the run is neither ended nor gone."""
    approve, west = "enerflo_approve", "enerflo_approve__west"

    def parsed(text: str) -> DagBag:
        (accounts / "west.yaml").write_text(text)
        look_again()
        bag = DagBag(dag_folder=str(DAGS / f"{approve}.py"), bundle_path=DAGS, bundle_name=BUNDLE)
        assert bag.import_errors == {}
        with create_session() as session:
            sync_bag_to_db(bag, BUNDLE, None, session=session)
            if west not in bag.dags:
                # A DAG is gone for Airflow when its file was parsed without it for a while.
                long_ago = datetime.now(UTC) - timedelta(minutes=5)
                session.execute(
                    sa.update(DagModel).where(DagModel.dag_id == west).values(last_parsed_time=long_ago)
                )
        file = DagFileInfo(rel_path=Path(f"{approve}.py"), bundle_name=BUNDLE)
        DagFileProcessorManager(max_runs=1).deactivate_stale_dags({file: datetime.now(UTC)})
        return bag

    def waiting() -> tuple[bool, bool, set[str]]:
        with create_session() as session:
            (model,) = session.scalars(sa.select(DagModel).where(DagModel.dag_id == west))
            (one,) = session.scalars(sa.select(DagRun).where(DagRun.dag_id == west))
            examined = west in {run.dag_id for run in _runs_to_examine(session)}
            assert str(one.state) == "running"
            return model.is_stale, examined, {task.task_id for task in one.task_instances}

    DagBundlesManager().sync_bundles_to_db()
    parsed("{}\n")
    with create_session() as session:
        session.execute(sa.delete(DagRun))
    trigger_dag(west, triggered_by=DagRunTriggeredByType.UI, conf={"plan_hash": "p"})
    with create_session() as session:
        # SQLite's clock has whole seconds, and the scheduler looks at runs that are due.
        due = datetime.now(UTC) - timedelta(minutes=1)
        session.execute(sa.update(DagRun).values(state="running", run_after=due))
        session.execute(sa.update(DagModel).where(DagModel.dag_id == west).values(is_paused=False))
    is_stale, examined, tasks = waiting()
    assert (is_stale, examined) == (False, True)
    assert "ask_a_person" in tasks
    assert west not in parsed("mod: both\n").dags
    assert waiting() == (True, False, tasks)
    with create_session() as session:
        assert not session.scalar(sa.select(DagModel.is_stale).where(DagModel.dag_id == approve))
    parsed("{}\n")
    assert waiting() == (False, True, tasks)
    with create_session() as session:
        session.execute(sa.delete(DagRun).where(DagRun.dag_id == west))
