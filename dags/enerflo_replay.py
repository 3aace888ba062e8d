"""Ingests quarantined input again, by the path on which it failed; started by hand only.

```
quarantine ──▶ [enerflo_replay] ──▶ mirror ──▶ enerflo_reconcile
```

Something is put into quarantine when it cannot be used: a payload that is not JSON, an event that nobody
knows, a record with a wrong type. Once its cause is gone (a new release knows the event, the record was
mended in Enerflo), replay ingests it as if it had just arrived.

**Choose** items by fingerprint (items with one cause have the same), by the event's name, by ids, or choose
all open items. `enerflo-sync quarantine list` and the table `sync.quarantine` show all of these.

**Nothing happens by default:** a dry run says what a replay would do with each item. Then start another run
with *Replay*. *Dismiss* closes items for good without ingesting them, and stores your reason with each item.

| task | does |
|---|---|
| Resolve the quarantined items | `enerflo-sync quarantine replay` or `dismiss`; its log has every outcome |
| Say that the mirror changed | starts the reconciliation through an asset; skipped where nothing changed |

**Failed:** the note says what to change in the form. Items that were replayed stay replayed; to replay them
again does no harm.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from enerflo_airflow.accounts import parsed_accounts
from enerflo_airflow.announce import announce_change
from enerflo_airflow.defaults import account_dag
from enerflo_airflow.forms import FormField
from enerflo_airflow.replay import Action, ReplayOperator, Selection

from enerflo_sync.crm.config import AccountConfig

PARAMS = {
    "selection": FormField(
        Selection.FINGERPRINT.value,
        type="string",
        enum=[str(selection) for selection in Selection],
        values_display={
            "fingerprint": "One fingerprint",
            "event": "One event name",
            "items": "Items by id",
            "everything": "Everything that is open",
        },
        title="Which items",
        description="How the quarantined items are chosen.",
    ),
    "value": FormField(
        None,
        type=["null", "string"],
        maxLength=20_000,
        title="Fingerprint, event or ids",
        description="What to choose by; several ids are separated by spaces or commas. Empty for everything.",
    ),
    "action": FormField(
        Action.DRY_RUN.value,
        type="string",
        enum=[str(action) for action in Action],
        values_display={
            "dry_run": "Dry run: only say what would happen",
            "replay": "Replay: ingest the items again",
            "dismiss": "Dismiss: settle them without taking them in",
        },
        title="What to do",
        description="A dry run changes nothing.",
    ),
    "reason": FormField(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Reason",
        description="Why the items are dismissed; kept with each of them, so name no customer.",
    ),
}


def replay_dag(settings: AccountConfig) -> Any:
    """Return the account's DAG."""
    account = settings.name

    @dag(
        **account_dag("replay", settings),
        description=f"Take quarantined input in again, dry by default (account {account}).",
        doc_md=__doc__,
        schedule=None,
        max_active_runs=1,
        params=PARAMS,
    )
    def enerflo_replay() -> None:
        settle = ReplayOperator(
            task_id="settle",
            task_display_name="Resolve the quarantined items",
            doc_md="Runs `enerflo-sync quarantine replay` or `dismiss` for the account.",
            account=account,
            selection="{{ params.selection }}",
            value="{{ params.value or '' }}",
            action="{{ params.action }}",
            reason="{{ params.reason or '' }}",
        )
        announce_change(account, settle.output)

    return enerflo_replay()


dags = [replay_dag(settings) for settings in parsed_accounts("replay")]
