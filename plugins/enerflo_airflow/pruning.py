"""The operator that deletes what is older than sync.yaml keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from enerflo_airflow.links import OverviewLink
from enerflo_airflow.notes import keep_note
from enerflo_airflow.operators import engine_run_id, flag, noted_failure

if TYPE_CHECKING:
    from enerflo_sync.retention.report import PruneReport


class PruneOperator(BaseOperator):
    """Deletes what the section ``retention`` of sync.yaml keeps no longer, and that nothing needs.

    :param account: name of the account in sync.yaml.
    :param dry_run: only look at what would be deleted.
    :return: rows and bytes by kind.
    """

    template_fields: Sequence[str] = ("account", "dry_run")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (OverviewLink(),)
    ui_color: ClassVar[str] = "#eeeeee"

    def __init__(self, *, account: str, dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        """Prune, store the note, and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.prune import run_prune

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_prune(opened, dry=flag(self.dry_run), run_id=engine_run_id(context))
        note = prune_note(report)
        self.log.info("pruned %s", note)
        keep_note(context, note)
        return {
            "account": report.account,
            "deleted": report.deleted,
            "rows": report.rows,
            "bytes": report.size,
            "kinds": {str(one.kind): {"rows": one.rows, "bytes": one.size} for one in report.kinds},
        }


def prune_note(report: PruneReport) -> str:
    """Return the run's note: how much of each kind."""
    parts = [f"{one.kind.replace('_', ' ')} {one.rows:,}" for one in report.kinds if one.rows]
    verb = "deleted" if report.deleted else "would delete"
    left = f"; older files in {len(report.left)} former archives stay" if report.left else ""
    return (f"{verb} {', '.join(parts)}" if parts else f"{verb} nothing") + left
