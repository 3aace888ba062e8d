"""Deletes what is older than the section `retention` of `sync.yaml` keeps it, and that nothing needs.

```
warehouse, archive ──▶ [enerflo_prune] ──▶ the same, without what is too old
```

Raw versions of records are thinned to the first, the last and those that a decision cites. Bodies of
webhook events are emptied. Files of the archive, differences, reports, plans that ended, runs, and looks at
tables that are not mapped any more are deleted. **The ledger is kept** unless `ledger_days` thins it, and so
is whatever a plan that waits, an open item in quarantine, a write on its way, a backfill, a replay or a
rebuild needs: `docs/retention.md` says of each table what stays.

| task | does |
|---|---|
| Delete what is too old | `enerflo-sync prune`; its counts are the run's note, and in `sync.prunings` |

It works in short transactions beside all other jobs, and no job waits for it. If evidence was pruned,
`enerflo-sync explain` says when, and by which option.

**Look first:** start it by hand with *Only look*: the note says how many rows would be deleted.

**Failed:** the note says what to change, such as an option that is shorter than the time for which plans may
wait. Rows that it already deleted were due; the run may be started again at any time.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts
from enerflo_airflow.defaults import START_DATE, account_dag, clock
from enerflo_airflow.forms import FormField
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.pruning import PruneOperator

from enerflo_sync.crm.config import AccountConfig

PARAMS = {
    "dry_run": FormField(
        False,
        type="boolean",
        title="Only look",
        description="Counts what would be deleted, and deletes nothing.",
    ),
}


def prune_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("prune", settings),
        description=f"Delete what is older than sync.yaml keeps it (account {account}).",
        doc_md=__doc__,
        schedule=clock(settings.schedule.prune, settings),
        start_date=START_DATE,
        max_active_runs=1,
        params=PARAMS,
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


dags = [prune_dag(settings) for settings in parsed_accounts("prune")]
