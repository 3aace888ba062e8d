"""Shared parts of all pages: who is asking and what they may do, security headers, an opened warehouse."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import sqlalchemy as sa
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from enerflo_airflow.accounts import account_name, sync_config
from enerflo_airflow.hook import open_account
from enerflo_airflow.page_tokens import notice_of, notice_text, token_for, token_is_of
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.pages.waiting import count_waiting
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import page_environment
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def _script_digest() -> str:
    """Return the digest of the only script, which follows Airflow's switch between light and dark."""
    source = page_environment().get_template("theme.js").render()
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


# The page loads nothing from other hosts, may be framed only by Airflow, and posts to itself alone.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src data:; "
    f"script-src 'sha256-{_script_digest()}'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_PIECE = 1 << 18
# How long a page's connections are kept for the next page.
_KEPT_SECONDS = 60.0


class Page(HTMLResponse):
    """An HTML page with the security headers."""

    def __init__(self, content: str, status_code: int = 200) -> None:
        super().__init__(content, status_code=status_code, headers=HEADERS)


@dataclass(frozen=True)
class Visit:
    """One request of a user who may read an account."""

    account: str
    user: Any
    request: Request

    @property
    def name(self) -> str:
        """Return the user's name, as the ledger has it."""
        return str(self.user.get_name() or self.user.get_id())

    @property
    def to(self) -> Addresses:
        """Return the addresses of the pages, with Airflow's own prefix."""
        return Addresses(here(self.request))

    @property
    def may_act(self) -> bool:
        """Return whether the user may settle things: edit the DAG that plans and writes."""
        details = DagDetails(id=account_name("sync", self.account))
        return bool(get_auth_manager().is_authorized_dag(method="PUT", details=details, user=self.user))

    @property
    def may_reveal(self) -> bool:
        """Return whether the user may see personal data: edit the account's connection to Enerflo."""
        named = sync_config().account(self.account).airflow.enerflo_connection
        details = ConnectionDetails(conn_id=named)
        return bool(
            get_auth_manager().is_authorized_connection(method="PUT", details=details, user=self.user)
        )

    def frame(self, connection: sa.Connection, place: Place | None = None) -> Frame:
        """Return what stands around a page of the account."""
        accounts = readable_accounts(self.user)
        return Frame(
            to=self.to,
            account=self.account,
            accounts=accounts,
            here=place,
            waiting=count_waiting(connection, self.account, sync_config()),
            token=token_for(str(self.user.get_id()), self.account) if self.may_act else "",
            notice=notice_text(self.request.query_params.get("notice")),
        )

    def done(self, address: str, notice: str) -> RedirectResponse:
        """Return the way from a form that was sent back to a page, which says what was done."""
        sign = "&" if "?" in address else "?"
        return RedirectResponse(f"{address}{sign}notice={notice_of(notice)}", 303)


def may_read(account: str, request: Request, user: GetUserDep) -> str:
    """Return the account if the user may read its reconciliation DAG's runs; otherwise 401 or 403."""
    dag_id = account_name("reconcile", account)
    requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=dag_id)(request, user)
    return account


def visit(account: str, request: Request, user: GetUserDep) -> Visit:
    """Return the request of a user who may read the account; otherwise 401 or 403."""
    return Visit(may_read(account, request, user), user, request)


def acting_visit(
    account: str, request: Request, user: GetUserDep, token: Annotated[str, Form()] = ""
) -> Visit:
    """Return the request of a user who may act and whose form is one of our pages; otherwise 401 or 403."""
    found = visit(account, request, user)
    if not found.may_act:
        raise HTTPException(403, f"Only who may edit the DAG {account_name('sync', account)} may do this.")
    return _of_our_form(found, token)


def revealing_visit(
    account: str, request: Request, user: GetUserDep, token: Annotated[str, Form()] = ""
) -> Visit:
    """Return the request of a user who may see personal data, by one of our forms; otherwise 401 or 403."""
    found = visit(account, request, user)
    if not found.may_reveal:
        raise HTTPException(403, "Only who may edit the account's connection to Enerflo may see this.")
    return _of_our_form(found, token)


def _of_our_form(found: Visit, token: str) -> Visit:
    if not token_is_of(token, str(found.user.get_id()), found.account):
        raise HTTPException(403, "This form is too old, or not one of these pages. Open the page again.")
    return found


Reading = Annotated[Visit, Depends(visit)]
Acting = Annotated[Visit, Depends(acting_visit)]
Revealing = Annotated[Visit, Depends(revealing_visit)]


def here(request: Request) -> str:
    """Return the path under which this app is served, including Airflow's own prefix."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def user_may_read(account: str, user: Any) -> bool:
    """Return whether the user may read the runs of the account's reconciliation DAG."""
    details = DagDetails(id=account_name("reconcile", account))
    manager = get_auth_manager()
    entity = DagAccessEntity.RUN
    return bool(manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user))


def readable_accounts(user: Any) -> list[str]:
    """Return the accounts whose pages the user may read, in the order of sync.yaml.

    Also those whose configuration cannot be read: each of their pages says why.
    """
    return [name for name in sync_config().names if user_may_read(name, user)]


class _Kept:
    """Accounts that stay open between two pages, so that a page need not connect anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, AccountContext]] = {}

    def account(self, name: str) -> AccountContext:
        """Return an account, opened within the last minute by the present sync.yaml."""
        config = sync_config()
        with self._lock:
            since, found = self._open.get(name, (0.0, None))
        if found is not None and found.config is config and time.monotonic() - since < _KEPT_SECONDS:
            return found
        # Without the lock: where secrets are slow to come, other accounts' pages wait for nobody.
        opened = open_account(name)
        with self._lock:
            _, found = self._open.pop(name, (0.0, None))
            self._open[name] = (time.monotonic(), opened)
        if found is not None:
            # Connections that a page still uses are closed when they come back.
            found.close()
        return opened

    def forget(self, name: str) -> None:
        """Close an account, whose next page connects anew."""
        with self._lock:
            _, found = self._open.pop(name, (0.0, None))
        if found is not None:
            found.close()


_kept = _Kept()


@contextmanager
def reading(account: str) -> Iterator[AccountContext]:
    """Open the account's warehouse for one request.

    :raises HTTPException: there is no such account.
    :raises ConfigurationError: its configuration cannot be read.
    """
    if account not in sync_config().names:
        raise HTTPException(404, f"There is no account {account} in sync.yaml.")
    sync_config().account(account)
    try:
        with warehouse_errors("report pages"):
            opened = _kept.account(account)
            require_migrated(opened.engine, reads_only=True)
            yield opened
    except Exception:
        _kept.forget(account)
        raise


def pieces(spool: Any) -> Iterator[bytes]:
    """Yield a file in pieces, and close it."""
    with spool:
        while piece := spool.read(_PIECE):
            yield piece
