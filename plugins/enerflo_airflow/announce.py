"""The task that notifies the account's other DAGs of a changed mirror."""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.accounts import mirror_asset

# What the asset's event says of the change: ids and counts.
_TOLD = ("run_id", "backfill_id", "state", "read", "applied", "new", "changed", "missing", "quarantined")


def announce_change(account: str, counts: Any) -> Any:
    """Add the task that emits the account's mirror asset if ``counts["mirror_changed"]`` is true.

    :param counts: the output of the task that may have changed the mirror.
    :return: the task.
    """
    mirror = mirror_asset(account)

    @task(
        task_id="announce_change",
        task_display_name="Say that the mirror changed",
        doc_md=f"Emits `{mirror.uri}`, which starts a reconciliation. Skipped where nothing changed.",
        outlets=[mirror],
    )
    def announce(counts: dict[str, Any]) -> None:
        if not counts["mirror_changed"]:
            raise AirflowSkipException("The mirror did not change: there is nothing new to reconcile.")
        context = get_current_context()
        context["outlet_events"][mirror].extra = {name: counts[name] for name in _TOLD if name in counts}

    return announce(counts)
