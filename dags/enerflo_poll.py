"""Brings the mirror tables up to what the account lists in Enerflo now.

```
Enerflo ──▶ [enerflo_poll] ──▶ mirror ──▶ enerflo_reconcile
```

Reads statuses, installs with their milestones, customers, change orders and notes into the warehouse's
schema `enerflo`. Rows that did not change are not written, and nothing is ever written to Enerflo or to
the CRM.

| task | does |
|---|---|
| Read Enerflo into the mirror | `enerflo-sync poll`; its counts are the run's note, and in `sync.runs` |
| Say that the mirror changed | starts the reconciliation through an asset; skipped where nothing changed |

**Partial:** the run is green, and its note says what was not read whole or how many records were put into
quarantine. The next run takes up the rest.

**Failed:** a wrong key or mapping fails at once, and the note says what to change; a host that does not
answer is tried again. Nothing is half-written, so the run may be started again at any time.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts, sync_config
from enerflo_airflow.announce import announce_change
from enerflo_airflow.defaults import START_DATE, account_dag, clock
from enerflo_airflow.forms import FormField
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.operators import EnerfloToWarehouseOperator

from enerflo_sync.crm.config import AccountConfig
from enerflo_sync.mirror.poll_resources import PollResource

config = sync_config()
NAMES = [str(resource) for resource in PollResource]
PARAMS = {
    "resources": FormField(
        [str(resource) for resource in config.poll.resources],
        type="array",
        items={"type": "string", "enum": NAMES},
        examples=NAMES,
        minItems=1,
        title="What to read",
        description="Milestones come in the rows of installs; what is left out stays as it is.",
    ),
    "full": FormField(
        False,
        type="boolean",
        title="Read all notes again",
        description="Finds notes that were edited or deleted; otherwise done once a day.",
    ),
    "accept_shrink": FormField(
        False,
        type="boolean",
        title="Believe a much smaller company",
        description="For one run after the guard stopped a sweep that returned far fewer records than"
        " are known. Missing records then count as absent.",
    ),
    "accept_company": FormField(
        False,
        type="boolean",
        title="Believe that the account has another company now",
        description="For one run after the key was refused because it answers for another company."
        " If the key is the mistake, put the right one back instead.",
    ),
}


def poll_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("poll", settings),
        description=f"Read Enerflo into the mirror tables (account {account}).",
        doc_md=__doc__,
        schedule=clock(settings.schedule.poll, settings),
        start_date=START_DATE,
        max_active_runs=1,
        params=PARAMS,
        render_template_as_native_obj=True,
    )
    def enerflo_poll() -> None:
        read = EnerfloToWarehouseOperator(
            task_id="read_enerflo",
            task_display_name="Read Enerflo into the mirror",
            doc_md="Runs `enerflo-sync poll` for the account and returns its counts.",
            account=account,
            read_resources="{{ params.resources }}",
            full="{{ params.full }}",
            accept_shrink="{{ params.accept_shrink }}",
            accept_company="{{ params.accept_company }}",
        )

        tell_people(account, after=announce_change(account, read.output))

    return enerflo_poll()


dags = [poll_dag(settings) for settings in parsed_accounts("poll")]
