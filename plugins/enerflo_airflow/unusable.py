"""The operator that reads the configuration of every account, and tells of those that cannot be used.

No DAG of such an account runs, so nothing else would tell. Whom it told is kept as Airflow Variables
(:mod:`enerflo_airflow.failing`), with the account in the place of a task.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperator, Context

from enerflo_airflow.accounts import ACCOUNTS_DAG, sync_config
from enerflo_airflow.alerts import message_sent
from enerflo_airflow.failing import Failing, failing_of, forget, remember
from enerflo_sync.crm.routes import NotifyEvent

if TYPE_CHECKING:
    from enerflo_sync.crm.config import SyncConfig
    from enerflo_sync.crm.routes import Route


class ReadAccountsOperator(BaseOperator):
    """Reads the configuration of every account, and fails while that of one cannot be read.

    Each route of such an account is told once, and once more when the account can be used again.

    :return: how many accounts there are.
    """

    ui_color: ClassVar[str] = "#eeeeee"

    def execute(self, context: Context) -> dict[str, Any]:
        """Tell what is new of each account, and return their number.

        :raises ConfigurationError: it lists the mistakes of the accounts that cannot be used.
        """
        from enerflo_airflow.operators import noted_failure

        with noted_failure(context):
            config = sync_config()
            tell_unusable(config, context)
            config.require_all()
        self.log.info("accounts_read count=%d", len(config.names))
        return {"accounts": len(config.names)}


def tell_unusable(config: SyncConfig, context: Context) -> None:
    """Tell each route of the accounts that cannot be used what it does not know yet.

    A route that cannot be reached is tried again by the next run.
    """
    from enerflo_sync.notify.unusable import unusable_message, usable_message

    ti = context["ti"]
    page = f"/dags/{ACCOUNTS_DAG}/runs/{quote(ti.run_id, safe='')}/tasks/{quote(ti.task_id)}"
    runbook, before = config.notify.runbook, dict(failing_of(ACCOUNTS_DAG))
    for account, problems in config.unusable.items():
        known = before.get(account) or Failing(datetime.now(UTC), ti.run_id)
        for name, route in _routes(config, account).items():
            if name not in known.told:
                message = unusable_message(account, problems, name, page=page, runbook=runbook)
                known = known.and_told(name) if message_sent(route, message, context) else known
        if known != before.get(account):
            remember(ACCOUNTS_DAG, account, known)
    for account, known in before.items():
        if account in config.unusable:
            continue
        routes, is_there, left = _routes(config, account), account in config.accounts, []
        for name in known.told:
            message = usable_message(account, name, known.since, is_there=is_there, page=page)
            if name in routes and not message_sent(routes[name], message, context):
                left.append(name)
        if left:
            remember(ACCOUNTS_DAG, account, Failing(known.since, known.run_id, tuple(left)))
        else:
            forget(ACCOUNTS_DAG, account, known)


def _routes(config: SyncConfig, account: str) -> dict[str, Route]:
    event, routes = NotifyEvent.ACCOUNT_UNUSABLE, config.notify.routes
    return {name: route for name, route in routes.items() if route.takes(event, account)}
