"""Long work that a page starts: a run of one of our DAGs, in the name of who asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.exceptions import AirflowException, DagNotFound
from airflow.models import DagModel, DagRun
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from fastapi import HTTPException

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import Visit
from enerflo_sync.errors import ConfigurationError

# Runs that wait, of which one may be the same: with more, nobody looks.
_MOST_GOING = 50


def start_run(visit: Visit, job: str, conf: Mapping[str, Any]) -> str:
    """Start a run of the account's DAG of a job, and return the address of the page that follows it.

    :param job: as in the DAG's name: ``backfill``, ``reconcile``, ``replay``, ``sync``, ``poll``.
    :param conf: values of the DAG's form.
    :raises HTTPException: the user may not start runs of that DAG.
    :raises ConfigurationError: Airflow does not know the DAG, or refuses the values.
    """
    dag_id = account_name(job, visit.account)
    details, entity = DagDetails(id=dag_id), DagAccessEntity.RUN
    manager = get_auth_manager()
    if not manager.is_authorized_dag(method="POST", access_entity=entity, details=details, user=visit.user):
        raise HTTPException(403, f"Only who may start runs of the DAG {dag_id} may do this.")
    try:
        run = trigger_dag(
            dag_id,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=visit.name,
            conf=dict(conf),
        )
    except DagNotFound:
        raise ConfigurationError(
            f"Airflow does not know the DAG {dag_id}.",
            where="this page",
            next_step="Look at Airflow's import errors, and whether its DAG processor runs.",
        ) from None
    except (ParamValidationError, ValueError, AirflowException) as error:
        raise ConfigurationError(
            f"the DAG {dag_id} does not take this: {error}.", where="this form", next_step="Correct it."
        ) from None
    if run is None:
        raise ConfigurationError(
            f"no run of {dag_id} was started.", where="Airflow", next_step="Start it in Airflow's own form."
        )
    return visit.to.run(dag_id, run.run_id)


def going_run(visit: Visit, job: str, conf: Mapping[str, Any]) -> str | None:
    """Return the page of a run that a person started with these values, and that is not over.

    So a form that is sent twice starts nothing twice.
    """
    dag_id = account_name(job, visit.account)
    going = (DagRunState.QUEUED, DagRunState.RUNNING)
    with create_session() as session:
        query = sa.select(DagRun).where(
            DagRun.dag_id == dag_id, DagRun.state.in_(going), DagRun.run_type == DagRunType.MANUAL
        )
        for run in session.scalars(query.order_by(DagRun.id.desc()).limit(_MOST_GOING)):
            if dict(run.conf or {}) == dict(conf):
                return visit.to.run(dag_id, run.run_id)
    return None


def is_paused(visit: Visit, job: str) -> bool:
    """Return whether the account's DAG of a job is paused: a run waits until it is switched on."""
    model = DagModel.get_dagmodel(account_name(job, visit.account))
    return model is not None and bool(model.is_paused)
