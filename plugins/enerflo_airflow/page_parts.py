"""Shared parts of all pages: permissions, security headers, an opened warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from enerflo_airflow.accounts import account_name, sync_config
from enerflo_airflow.hook import open_account
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

# The page loads nothing from other hosts, and may be framed only by Airflow.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_PIECE = 1 << 18


class Page(HTMLResponse):
    """An HTML page with the security headers."""

    def __init__(self, content: str, status_code: int = 200) -> None:
        super().__init__(content, status_code=status_code, headers=HEADERS)


def may_read(account: str, request: Request, user: GetUserDep) -> str:
    """Return the account if the user may read its reconciliation DAG's runs; otherwise 401 or 403."""
    dag_id = account_name("reconcile", account)
    requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=dag_id)(request, user)
    return account


ReadableAccount = Annotated[str, Depends(may_read)]


def here(request: Request) -> str:
    """Return the path under which this app is served, including Airflow's own prefix."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def user_may_read(account: str, user: Any) -> bool:
    """Return whether the user may read the runs of the account's reconciliation DAG."""
    details = DagDetails(id=account_name("reconcile", account))
    manager = get_auth_manager()
    entity = DagAccessEntity.RUN
    return bool(manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user))


@contextmanager
def reading(account: str) -> Iterator[AccountContext]:
    """Open the account's warehouse for one request.

    :raises HTTPException: there is no such account.
    """
    if account not in sync_config().accounts:
        raise HTTPException(404, f"There is no account {account} in sync.yaml.")
    with closing(open_account(account)) as opened, warehouse_errors("report pages"):
        require_migrated(opened.engine)
        yield opened


def pieces(spool: Any) -> Iterator[bytes]:
    """Yield a file in pieces, and close it."""
    with spool:
        while piece := spool.read(_PIECE):
            yield piece
