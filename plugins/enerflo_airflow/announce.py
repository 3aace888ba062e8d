"""The task that notifies the account's other DAGs of a changed mirror."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.accounts import mirror_asset
from enerflo_airflow.links import FreshnessLink

# What the asset's event says of the change: ids and counts.
_TOLD = ("run_id", "backfill_id", "state", "read", "applied", "new", "changed", "missing", "quarantined")


class AnnounceChangeOperator(BaseOperator):
    """Emits the account's mirror asset if the mirror changed; otherwise it is skipped.

    :param account: name of the account in sync.yaml.
    :param counts: the result of the task that may have changed the mirror, with ``mirror_changed``.
    """

    template_fields: Sequence[str] = ("account", "counts")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (FreshnessLink(),)
    ui_color: ClassVar[str] = "#f0f0f0"

    def __init__(self, *, account: str, counts: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.counts = counts

    def execute(self, context: Context) -> None:
        """Emit the asset's event, with ids and counts."""
        counts: dict[str, Any] = self.counts
        if not counts["mirror_changed"]:
            raise AirflowSkipException("The mirror did not change: there is nothing new to reconcile.")
        told = {name: counts[name] for name in _TOLD if name in counts}
        context["outlet_events"][mirror_asset(self.account)].extra = told


def announce_change(account: str, counts: Any) -> AnnounceChangeOperator:
    """Add the task that emits the account's mirror asset if ``counts["mirror_changed"]`` is true.

    :param counts: the output of the task that may have changed the mirror.
    :return: the task.
    """
    mirror = mirror_asset(account)
    return AnnounceChangeOperator(
        task_id="announce_change",
        task_display_name="Say that the mirror changed",
        doc_md=f"Emits `{mirror.uri}`, which starts a reconciliation. Skipped where nothing changed.",
        outlets=[mirror],
        account=account,
        counts=counts,
    )
