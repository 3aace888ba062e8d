"""Our DAGs as Airflow's metadata database has them, and runs of them in this process."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlencode

import sqlalchemy as sa
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagModel, DagRun
from airflow.utils.session import create_session

from tests.airflow_environment import DAGS

BUNDLE = "dags-folder"


@cache
def known(job: str) -> DagBag:
    """Tell Airflow of a DAG of ours, as its DAG processor does, and return what its file holds."""
    name = "enerflo_sync_dag" if job == "sync" else f"enerflo_{job}"
    bag = DagBag(dag_folder=str(DAGS / f"{name}.py"), bundle_path=DAGS, bundle_name=BUNDLE)
    assert bag.dags, bag.import_errors
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        sync_bag_to_db(bag, BUNDLE, None, session=session)
    return bag


def switch(job: str, *, on: bool) -> None:
    """Switch a DAG on or off."""
    known(job)
    with create_session() as session:
        session.execute(
            sa.update(DagModel).where(DagModel.dag_id == f"enerflo_{job}").values(is_paused=not on)
        )


def forget_runs() -> None:
    """Remove the runs of all DAGs: they were of another test, and of another warehouse."""
    with create_session() as session:
        session.execute(sa.delete(DagRun))


def runs_of(job: str) -> list[DagRun]:
    """Return all runs of a DAG, oldest first."""
    with create_session() as session:
        found = list(
            session.scalars(sa.select(DagRun).where(DagRun.dag_id == f"enerflo_{job}").order_by(DagRun.id))
        )
        session.expunge_all()
    return found


def ran(job: str, **conf: object) -> str:
    """Run a DAG to its end in this process, and return the address of the run's page."""
    dag = known(job).dags[f"enerflo_{job}"]
    for task in dag.tasks:
        task.retries = 0
    return address(f"enerflo_{job}", dag.test(run_conf=conf).run_id)


def address(dag_id: str, run_id: str) -> str:
    return f"run?{urlencode({'dag_id': dag_id, 'run_id': run_id})}"
