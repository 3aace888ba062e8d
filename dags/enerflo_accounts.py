"""Reads the configuration of every account, and notifies people if an account's file cannot be read.

```
sync.yaml, accounts/*.yaml ──▶ [enerflo_accounts] ──▶ people
```

A mistake in an account's own file (`accounts/NAME.yaml`) stops only that account: its DAGs disappear from
Airflow, and its waiting runs go on when the file is correct again. Every other account works. The import
error of `check_every_account.py` names file, line and what to correct, and so does the page *Enerflo*. While
there is such an account, this DAG fails. It notifies the account's routes once (`account_unusable`), and once
more when the account can be used again.

The DAG exists only if there are several accounts. If the only account, or `sync.yaml` itself, cannot be read,
every DAG file has the import error.

| task | does |
|---|---|
| Read every account | reads `sync.yaml` and all files of accounts, as each DAG file does |

**Failed:** correct the file that the note names. `enerflo-sync doctor --account NAME` checks it at once.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, dag
from enerflo_airflow.accounts import ACCOUNTS_DAG, checks_accounts, sync_config
from enerflo_airflow.defaults import START_DATE, task_defaults
from enerflo_airflow.unusable import ReadAccountsOperator

from enerflo_sync.crm.account import AccountDefaults


def accounts_dag(defaults: AccountDefaults) -> Any:
    """Return the DAG, of which there is one for all accounts."""

    @dag(
        dag_id=ACCOUNTS_DAG,
        description="Read the configuration of every account, and tell of those that cannot be used.",
        doc_md=__doc__,
        schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        # It watches the others, so nobody has to switch it on.
        is_paused_upon_creation=False,
        tags=["enerflo"],
        default_args=task_defaults(defaults, alerts=False),
    )
    def enerflo_accounts() -> None:
        ReadAccountsOperator(
            task_id="read_accounts",
            task_display_name="Read every account",
            doc_md="Fails while the configuration of an account cannot be read, and tells its routes once.",
        )

    return enerflo_accounts()


dags = [accounts_dag(sync_config().defaults)] if checks_accounts() else []
