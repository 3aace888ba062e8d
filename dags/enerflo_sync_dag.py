"""Decides about each difference, asks a person if the rules say so, writes on both sides, and verifies.

```
report ──▶ [enerflo_sync] ──▶ plan ─┬─▶ written at once ──▶ compared again
                                    └─▶ enerflo_approve: a person
```

Every difference of a reconciliation becomes a change or a question for a person, or a rule leaves it as it is
(`source_of_truth` and the other options of a field in `sync.yaml`). The plan is stored under a hash of its
content. An apply writes exactly the plan's changes, each only if it still finds the value that the plan
expects.

**Nothing is written in report mode**, in which every set-up begins: the plan is made and shown, and the other
tasks are skipped. `mode: crm`, `enerflo` or `both` switches writing on, for the account or for a table.

**Changes that need no approval are written at once.** The others become a plan of their own, which waits in a
run of its own: the task *Ask a person* starts that run (DAG `enerflo_approve`) and does not wait for the
answer. The same on the command line: `enerflo-sync apply HASH --approve "NAME"`. No later plan has a change
that a person refused until one of its values differs, or until `enerflo-sync reopen`.

**Moved, parked:** the run's note counts both. A change has *moved* if its value changed since the plan; the
next plan decides about the present value. A change is *parked* if it could not be made; the plan's page shows
the reason. `enerflo-sync explain` shows for one record what was decided and why.

**Failed:** nothing is half-written, and a new run goes on where this one stopped. `enerflo-sync undo HASH`
makes a plan that reverses an applied plan.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts, reconciled_asset
from enerflo_airflow.defaults import START_DATE, account_dag
from enerflo_airflow.forms import FormField
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.planning import (
    ApplyPlanOperator,
    AskForApprovalOperator,
    PlanOperator,
    VerifyPlanOperator,
)
from enerflo_airflow.rhythm import gather_changes

from enerflo_sync.crm.config import AccountConfig

PLAN_HASH = "{{ ti.xcom_pull(task_ids='make_plan')['free'] }}"
PARAMS = {
    "ask": FormField(
        True,
        type="boolean",
        title="Ask a person where the plan needs one",
        description="Otherwise a plan that needs an approval is left for the command line.",
    ),
}


def sync_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("sync", settings),
        description=f"Plan, approve, apply and verify the changes on both sides (account {account}).",
        doc_md=__doc__,
        schedule=[reconciled_asset(account)],
        start_date=START_DATE,
        max_active_runs=1,
        params=PARAMS,
        render_template_as_native_obj=True,
    )
    def enerflo_sync() -> None:
        plan = PlanOperator(
            task_id="make_plan",
            task_display_name="Decide what is to be written",
            doc_md="Runs `enerflo-sync plan` for the account: a plan under a hash, nothing written.",
            account=account,
        )
        ask = AskForApprovalOperator(
            task_id="ask_a_person",
            task_display_name="Ask a person",
            doc_md="Starts the run that asks where `approval` in sync.yaml asks for a person; does not wait.",
            account=account,
            plan=plan.output,
            ask="{{ params.ask }}",
        )
        apply = ApplyPlanOperator(
            task_id="apply_plan",
            task_display_name="Write it",
            doc_md="Runs `enerflo-sync apply`: the CRM in one transaction, then Enerflo record by record.",
            account=account,
            plan_hash=PLAN_HASH,
        )
        verify = VerifyPlanOperator(
            task_id="verify_plan",
            task_display_name="Check both sides",
            doc_md="Reconciles again what was changed and counts what differs still.",
            account=account,
            plan_hash=PLAN_HASH,
        )
        plan >> ask
        plan >> apply >> verify
        # At once, while the plan waits.
        tell_people(account, after=plan)
        gather_changes(account, settings.rhythm.plan_seconds, after=plan)

    return enerflo_sync()


dags = [sync_dag(settings) for settings in parsed_accounts("sync")]
