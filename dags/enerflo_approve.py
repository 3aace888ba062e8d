"""Asks a person about one plan, and writes the changes that the person approves.

```
enerflo_sync ──▶ plan ──▶ [enerflo_approve] ─┬─▶ yes: written, compared again
                                             └─▶ no: stored, in no later plan
```

`enerflo_sync` starts a run for each plan that waits for a person (`approval` in `sync.yaml`), with the hash
of the plan; this DAG has no schedule. While a run waits, `enerflo_sync` goes on to plan, and to write changes
that need no approval.

**Asked for approval?** The task *Ask a person* waits under *Required Actions* for an answer. Its text says
what the plan does and why it needs a person, and has a link to the whole plan. No answer in time counts as a
no. A person may also answer on the plan's page, or on the command line:
`enerflo-sync apply HASH --approve "NAME"`.

**Asked again at once?** Airflow 3.3 loses an answer that comes within some ten seconds of the question: the
task begins another try and asks anew. Nothing was stored or written; answer again.

**A part of the plan:** the form takes parts such as `milestones`, `installs.status` or `installs:12345`. The
other changes stay open, and the next round asks about them again; or they are refused.

**Two persons:** with `approval.second_person` in `sync.yaml`, a second task asks another person after the
first yes. It names the first person, and the second person approves the same part. One no is enough.

**After a no:** no later plan has a refused change until one of its values differs, or until
`enerflo-sync reopen`. The run ends green.

**Decided elsewhere:** if somebody approves the plan on its page or on the command line, the run goes on
within five minutes, and its note says who approved and when. If a later plan superseded this plan, or
somebody rejected it elsewhere, the run ends green by itself. A no takes back a yes as long as nothing was
written.

**Approved and not written:** if a later plan takes the plan's place after the yes and before the write, the
task *Write it* is skipped, the run ends green, and its note says so. The later plan has what is still due.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts, sync_config
from enerflo_airflow.approving import PlanApprovalOperator
from enerflo_airflow.defaults import START_DATE, account_dag, asking
from enerflo_airflow.forms import FormField
from enerflo_airflow.planning import ApplyPlanOperator, FindPlanOperator, VerifyPlanOperator

from enerflo_sync.crm.config import AccountConfig, SyncConfig

PLAN_HASH = "{{ ti.xcom_pull(task_ids='find_plan')['plan_hash'] }}"
PARAMS = {
    "plan_hash": FormField(
        "",
        type="string",
        title="Plan",
        description="The hash of the plan, or at least eight characters of it.",
    ),
}


def approve_dag(settings: AccountConfig, config: SyncConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("approve", settings, waits_for_a_person=True),
        description=f"Ask a person about one plan, and write what was approved (account {account}).",
        doc_md=__doc__,
        schedule=None,
        start_date=START_DATE,
        # A run waits for a person: others are not to wait for it.
        max_active_runs=16,
        # Without a schedule it does nothing by itself, and a run that is started must not stay queued.
        is_paused_upon_creation=False,
        params=PARAMS,
        # A hash, or the beginning of one, may look like a number, and stays a text.
        render_template_as_native_obj=False,
    )
    def enerflo_approve() -> None:
        plan = FindPlanOperator(
            task_id="find_plan",
            task_display_name="Look the plan up",
            doc_md="Reads the plan of this hash as it stands now.",
            account=account,
            plan_hash="{{ params.plan_hash }}",
        )
        about: dict[str, Any] = {
            "account": account,
            "plan": plan.output,
            **asking(settings, config.approval.expires_hours),
        }
        approved = PlanApprovalOperator(
            task_id="ask_a_person",
            task_display_name="Ask a person",
            doc_md="Waits for an answer to the plan. No answer is a no.",
            **about,
        )
        first = approved
        if config.approval.second_person:
            approved = PlanApprovalOperator(
                task_id="ask_a_second_person",
                task_display_name="Ask a second person",
                doc_md="Waits for another person's answer to what the first one approved. No answer is a no.",
                second=True,
                **about,
            )
            first >> approved
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
        plan >> first
        approved >> apply >> verify

    return enerflo_approve()


config = sync_config()
dags = [approve_dag(settings, config) for settings in parsed_accounts("approve")]
