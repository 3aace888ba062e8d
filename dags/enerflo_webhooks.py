"""Brings webhook payloads that were dropped to storage into the mirror, seconds after they arrive.

```
drop ──▶ [enerflo_webhooks] ──▶ mirror ──▶ enerflo_reconcile
```

Stores each event of the files in the account's drop once, reads the event's record again from Enerflo, and
loads it into the mirror by the same path as the poll. A file moves to the archive beside the drop only after
its events are committed. Nothing is written to Enerflo or to the CRM.

Runs when files arrive, which the triggerer sees within seconds, and by the clock in any case. A start only
means "look": files that arrive during a run are ingested by it or by the next one.

| task | does |
|---|---|
| Take in the webhook files | `enerflo-sync ingest`; its counts are the run's note, and in `sync.runs` |
| Say that the mirror changed | starts the reconciliation through an asset; skipped where nothing changed |

**Partial:** the run is green, and its note says how many events were put into quarantine and why, or what
could not be read. `enerflo-sync quarantine list` shows them, and the DAG `enerflo_replay` ingests them
again. An event whose record cannot be read now waits, and a later run reads the record.

**Failed:** a missing drop, a wrong key or a missing table fails at once, and the note says what to change; a
warehouse that does not answer is tried again. Nothing is lost or counted twice, so the run may be started
again at any time.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, dag
from enerflo_airflow.accounts import parsed_accounts
from enerflo_airflow.announce import announce_change
from enerflo_airflow.defaults import START_DATE, account_dag, clock
from enerflo_airflow.ingest import IngestDropOperator
from enerflo_airflow.notifying import tell_people
from enerflo_airflow.watcher import drop_asset

from enerflo_sync.crm.config import AccountConfig


def webhooks_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name
    often = clock(settings.schedule.webhooks, settings)

    @dag(
        **account_dag("webhooks", settings),
        description=f"Bring dropped webhook payloads into the mirror tables (account {account}).",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=often, assets=[drop_asset(account)]),
        start_date=START_DATE,
        max_active_runs=1,
    )
    def enerflo_webhooks() -> None:
        ingest = IngestDropOperator(
            task_id="ingest",
            task_display_name="Take in the webhook files",
            doc_md="Runs `enerflo-sync ingest` for the account and returns its counts.",
            account=account,
        )
        tell_people(account, after=announce_change(account, ingest.output))

    return enerflo_webhooks()


# An account that names no drop works without webhooks. Where it names a variable that is not set the DAG is
# there, and its run says so.
dags = [webhooks_dag(settings) for settings in parsed_accounts("webhooks") if settings.has_drop]
