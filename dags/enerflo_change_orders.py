"""Checks change orders, holds failing ones back from the CRM, and judges the life-cycle of installs.

```
mirror ──▶ [enerflo_change_orders] ─┬─▶ fails: held back in quarantine
                                    └─▶ passes: enerflo_sync may plan it
```

The checks are declared in `include/config/change_orders.yaml`: each has a sentence, a limit, a severity and
a reason, and a data team changes them without code. An order is checked once. It is checked again when it
changes, or when its reference data changes: its install, its adders, its other orders, the known products.

Two steps. *Judge and hold* finds every failing order by SQL. Orders that fail a check of severity *hold* go
into `sync.quarantine`, and no plan contains them; other changes of their installs are planned as usual. The
step also judges the life-cycle of installs as `include/config/life_cycle.yaml` declares it. Milestones out of
order, skipped, opened again or overdue are findings, which hold nothing back. *Validate* lets Great
Expectations count the same orders independently, and fails when the two counts differ.

**The result:** the button *Change orders* of the task, and `sync.quality_results`, `sync.quality_runs`,
`sync.life_cycle_findings`. The run's note counts the orders that are held and the findings. The same on the
command line: `enerflo-sync quality`.

**An order is held?** Correct it in Enerflo, change the limit, or let it through as it is:
`enerflo-sync quarantine release ITEM --reason TEXT --by NAME`. The ledger records who released it.

**Failed:** the note says what to change. The run may be started again at any time. A plan and an
apply first judge orders that were not judged yet, so no unchecked order reaches the CRM meanwhile.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import mirror_asset, parsed_accounts
from enerflo_airflow.checking import HoldChangeOrdersOperator, ValidateChangeOrdersOperator
from enerflo_airflow.defaults import START_DATE, account_dag
from enerflo_airflow.forms import FormField
from enerflo_airflow.notifying import tell_people

from enerflo_sync.crm.config import AccountConfig

PARAMS = {
    "full": FormField(
        False,
        type="boolean",
        title="Look at everything",
        description="Otherwise only at orders and installs that changed, or are due; the result is the same.",
    ),
}


def change_orders_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("change_orders", settings),
        description=f"Check change orders and hold back those that fail (account {account}).",
        doc_md=__doc__,
        schedule=[mirror_asset(account)],
        start_date=START_DATE,
        max_active_runs=1,
        params=PARAMS,
        render_template_as_native_obj=True,
    )
    def enerflo_change_orders() -> None:
        judge = HoldChangeOrdersOperator(
            task_id="judge_and_hold",
            task_display_name="Judge, and hold what fails",
            doc_md="Finds every change order that fails a check, and holds it back from the CRM; judges the"
            " life-cycle of installs.",
            account=account,
            full="{{ params.full }}",
        )
        validate = ValidateChangeOrdersOperator(
            task_id="validate",
            task_display_name="Validate with Great Expectations",
            doc_md="Has Great Expectations count the same rows, and keeps its result.",
            account=account,
            execution_timeout=timedelta(minutes=30),
        )
        judge >> validate
        tell_people(account, after=validate)

    return enerflo_change_orders()


dags = [change_orders_dag(settings) for settings in parsed_accounts("change_orders")]
