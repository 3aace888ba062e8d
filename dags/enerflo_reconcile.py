"""Compares the mirror with the CRM, and reports every difference with its cause.

```
mirror ─┐
        ├─▶ [enerflo_reconcile] ──▶ report ──▶ enerflo_sync
CRM ────┘
```

Compares Enerflo's values (the mirror tables, schema `enerflo`) with the CRM's tables that `sync.yaml` maps,
gives every difference a cause, and stores the report. It sends Enerflo no request and changes no CRM row.

Runs when a poll changed the mirror, and once a day in any case, since rows of the CRM change too. Changes
start a run at most once a minute (`rhythm` in `sync.yaml`); one run covers all changes that came meanwhile.
The first run after `schedule.full_reconcile` (weekly) compares every row, other runs only changed rows.

**The report:** the button *Reconciliation report* of the task, the tab *Enerflo result* of the run, or all
of them under *Enerflo* in the navigation. The headline is the number of differences that nothing explains;
the run's note repeats it. The same in SQL: `sync.reconciliations` and `sync.differences`.

**Failed:** the note says what to change (`enerflo-sync doctor` checks the mapping against the live tables).
It may be started again at any time.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, dag
from enerflo_airflow.accounts import mirror_asset, parsed_accounts, reconciled_asset
from enerflo_airflow.defaults import account_dag, clock
from enerflo_airflow.forms import FormField
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.operators import ReconcileOperator
from enerflo_airflow.rhythm import gather_changes

from enerflo_sync.crm.config import AccountConfig

PARAMS = {
    "full": FormField(
        False,
        type="boolean",
        title="Compare every row",
        description="Otherwise only what changed on either side since the last run; the result is the same.",
    ),
    "fail_over_budget": FormField(
        False,
        type="boolean",
        title="Fail when too much is unexplained",
        description="The run fails when the report is no all-clear: more differences are unexplained than"
        " reconcile.unexplained_budget in sync.yaml allows, or the comparison cannot be trusted, as where"
        " Enerflo was not read when it was due. The report is stored either way.",
    ),
}


def reconcile_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name
    daily = clock(settings.schedule.reconcile, settings)

    @dag(
        **account_dag("reconcile", settings),
        description=f"Compare the mirror with the CRM and report every difference (account {account}).",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=daily, assets=[mirror_asset(account)]),
        # No start date: with one in the past the last missed day would run at once, before the first poll.
        max_active_runs=1,
        params=PARAMS,
        render_template_as_native_obj=True,
    )
    def enerflo_reconcile() -> None:
        compare = ReconcileOperator(
            task_id="compare_with_crm",
            task_display_name="Compare the mirror with the CRM",
            doc_md="Runs `enerflo-sync reconcile` for the account and stores the report.",
            account=account,
            full="{{ params.full }}",
            fail_over_budget="{{ params.fail_over_budget }}",
            outlets=[reconciled_asset(account)],
        )
        tell_people(account, after=compare)
        gather_changes(account, settings.rhythm.reconcile_seconds, after=compare)

    return enerflo_reconcile()


dags = [reconcile_dag(settings) for settings in parsed_accounts("reconcile")]
