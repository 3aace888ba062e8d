"""Reads chosen installs again, with milestones, notes and change orders, in a lane that yields to live work.

```
window ──▶ [enerflo_backfill] ──▶ estimate ──▶ a person ──▶ parts, two at once ──▶ mirror
```

**By the form:** a window of creation dates, named installs, or everything.

**By Airflow's own backfill** (*Trigger*, *Backfill*, or `airflow backfill create --dag-id enerflo_backfill
--from-date 2025-01-01 --to-date 2025-12-31`): one run a month, and each reads the installs that were created
in its month. Nothing starts by the clock. A month that was backfilled before is read again with *All Runs*
(`--reprocess-behavior completed`).

| task | does |
|---|---|
| Estimate it | finds the pages, reads a few, and estimates requests and time; the result is the run's note |
| Ask a person | if the estimate exceeds the form's limit; no answer counts as a no |
| Read the installs | one mapped task for each part, named by its content; two run at once |
| Read what belongs to them | notes and change orders |
| Conclude it | finds installs that Enerflo lacks, and reports the result beside the estimate |
| Say that the mirror changed | starts the reconciliation through an asset; skipped where nothing changed |

Every request yields to polls and webhooks ([backfill](backfill.md)). *Only estimate* ends after the first
task.

**Failed:** clear the failed tasks, or run `enerflo-sync backfill --resume`: what was read stays. While a run
reads some installs, a second run for the same installs is refused.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts, sync_config
from enerflo_airflow.announce import announce_change
from enerflo_airflow.backfill import (
    AT_ONCE,
    BackfillApprovalOperator,
    Choice,
    EstimateBackfillOperator,
    FinishBackfillOperator,
    ReadChunkOperator,
    StartBackfillOperator,
)
from enerflo_airflow.defaults import START_DATE, account_dag, asking
from enerflo_airflow.forms import FormField
from enerflo_airflow.timetable import MONTHS

from enerflo_sync.crm.config import AccountConfig, SyncConfig

config = sync_config()
BACKFILL_ID = "{{ ti.xcom_pull(task_ids='estimate')['backfill_id'] }}"
# A mapped task without parts is skipped, and what follows it is not.
ALSO_OF_NONE = "none_failed_min_one_success"
OF_A_BACKFILL = "Airflow's own backfill heeds this where Override parameters is ticked."

PARAMS = {
    "choice": FormField(
        Choice.WINDOW.value,
        type="string",
        enum=[str(choice) for choice in Choice],
        values_display={
            "window": "Installs created in a window",
            "ids": "Named installs",
            "everything": "Everything that Enerflo lists",
        },
        title="Which installs",
        description="A window and ids have fields below. Airflow's own backfill reads a month a run instead.",
    ),
    "start": FormField(
        None,
        type=["null", "string"],
        format="date",
        title="Created from",
        description="Of a window: the first day, UTC. Empty: from the company's first install.",
    ),
    "end": FormField(
        None,
        type=["null", "string"],
        format="date",
        title="Created to",
        description="Of a window: the last day, UTC, to its end. Empty: until now.",
    ),
    "ids": FormField(
        None,
        type=["null", "string"],
        format="multiline",
        maxLength=200_000,
        title="Ids",
        description="Of named installs: install ids or uuids of deals, separated by spaces, commas or lines.",
    ),
    "estimate_only": FormField(
        False,
        type="boolean",
        title="Only estimate",
        description=f"Say what it would take, and read nothing. {OF_A_BACKFILL}",
    ),
    "limit": FormField(
        config.approval.backfill_requests,
        type="integer",
        minimum=0,
        maximum=config.approval.backfill_requests,
        title="Ask above",
        description="A person is asked above so many requests; 300 take a minute. At most"
        f" approval.backfill_requests of sync.yaml. {OF_A_BACKFILL}",
    ),
}


def parts(task_id: str, title: str, account: str) -> Any:
    """Return the task that is mapped over parts."""
    return ReadChunkOperator.partial(
        task_id=task_id,
        task_display_name=title,
        doc_md="Reads one part into the mirror; tried again, it goes on where it was.",
        account=account,
        backfill_id=BACKFILL_ID,
        max_active_tis_per_dag=AT_ONCE,
        map_index_template="{{ chunk_label }}",
    )


def backfill_dag(settings: AccountConfig, config: SyncConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("backfill", settings, waits_for_a_person=True),
        description=f"Read chosen installs again, estimated first (account {account}).",
        doc_md=__doc__,
        schedule=MONTHS,
        start_date=START_DATE,
        max_active_runs=1,
        params=PARAMS,
        render_template_as_native_obj=True,
    )
    def enerflo_backfill() -> None:
        estimate = EstimateBackfillOperator(
            task_id="estimate",
            task_display_name="Estimate it",
            doc_md="Runs `enerflo-sync backfill --estimate` for the form, or a month of Airflow's.",
            account=account,
            # Natively, the ids 1,2 would become a tuple.
            render_template_as_native_obj=False,
            choice="{{ params.choice }}",
            start="{{ params.start or '' }}",
            end="{{ params.end or '' }}",
            ids="{{ params.ids or '' }}",
        )
        approval = BackfillApprovalOperator(
            task_id="ask_a_person",
            task_display_name="Ask a person",
            doc_md="Waits for an answer where the estimate passes the limit. No answer is a no.",
            account=account,
            estimate=estimate.output,
            limit="{{ params.limit }}",
            most=config.approval.backfill_requests,
            estimate_only="{{ params.estimate_only }}",
            **asking(settings, config.approval.expires_hours),
        )
        installs = StartBackfillOperator(
            task_id="parts_of_installs",
            task_display_name="Name the parts",
            doc_md="Begins the backfill and names the parts of installs that are left.",
            account=account,
            backfill_id=BACKFILL_ID,
            of_installs=True,
        )
        read_installs = parts("read_installs", "Read the installs", account).expand(chunk=installs.output)
        belongings = StartBackfillOperator(
            task_id="parts_of_belongings",
            task_display_name="Name what belongs to them",
            doc_md="Names the parts of notes and change orders that are left.",
            account=account,
            backfill_id=BACKFILL_ID,
            of_installs=False,
            trigger_rule=ALSO_OF_NONE,
        )
        read_belongings = parts("read_belongings", "Read what belongs to them", account).expand(
            chunk=belongings.output
        )
        finish = FinishBackfillOperator(
            task_id="finish",
            task_display_name="Conclude it",
            doc_md="Finds what is missing from the source, and says what was done beside what was estimated.",
            account=account,
            backfill_id=BACKFILL_ID,
            trigger_rule=ALSO_OF_NONE,
        )
        approval >> installs >> [read_installs, belongings]
        read_installs >> belongings >> [read_belongings, finish]
        read_belongings >> finish
        announce_change(account, finish.output)

    return enerflo_backfill()


dags = [backfill_dag(settings, config) for settings in parsed_accounts("backfill")]
