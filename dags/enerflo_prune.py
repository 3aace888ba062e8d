"""Deletes what is older than the section `retention` of `sync.yaml` keeps it, and that nothing needs.

```
warehouse, archive ──▶ [enerflo_prune] ──▶ the same, without what is too old
```

Raw versions of records are thinned to the first, the last and those that a decision cites. Bodies of
webhook events are emptied. Files of the archive, differences, reports, plans that ended, runs, and looks at
tables that are not mapped any more are deleted. **The ledger is kept**, and so is whatever a plan that waits,
an open item in quarantine, a write on its way, a backfill, a replay or a rebuild needs: `docs/retention.md`
says of each table what stays.

| task | does |
|---|---|
| Delete what is too old | `enerflo-sync prune`; its counts are the run's note, and in `sync.prunings` |

It works in short transactions beside all other jobs, and holds none of them up. Afterwards
`enerflo-sync explain` says of evidence that is gone when it was pruned, and by which option.

**Look first:** start it by hand with *Only look*: the note says how many rows would go.

**Failed:** the note says what to change, such as an option that is shorter than a plan waits. What was
deleted before is right; it may be started again at any time.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag
from enerflo_airflow.accounts import account_name, account_tags, sync_config
from enerflo_airflow.defaults import START_DATE, task_defaults
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.pruning import PruneOperator

from enerflo_sync.crm.config import AccountConfig

PARAMS = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Only look",
        description="Counts what would be deleted, and deletes nothing.",
    ),
}


def prune_dag(account: str, settings: AccountConfig) -> Any:
    """Return the account's DAG."""

    @dag(
        dag_id=account_name("prune", account),
        description=f"Delete what is older than sync.yaml keeps it (account {account}).",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(settings.schedule.prune, timezone="UTC"),
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        tags=account_tags(account),
        params=PARAMS,
        default_args=task_defaults(),
        render_template_as_native_obj=True,
    )
    def enerflo_prune() -> None:
        pruned = PruneOperator(
            task_id="prune",
            task_display_name="Delete what is too old",
            doc_md="Runs `enerflo-sync prune` for the account and returns its counts.",
            account=account,
            dry_run="{{ params.dry_run }}",
        )
        tell_people(account, after=pruned)

    return enerflo_prune()


config = sync_config()
dags = [prune_dag(account, settings) for account, settings in config.accounts.items()]
