"""The operator that loads dropped webhook payloads into the mirror."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from enerflo_airflow.links import FreshnessLink
from enerflo_airflow.metrics import send_run
from enerflo_airflow.notes import ingest_note, keep_note
from enerflo_airflow.operators import changed_mirror, counts_of, engine_run_id, noted_failure
from enerflo_sync.process import moving_records

if TYPE_CHECKING:
    from enerflo_sync.jobs.context import AccountContext

_PREVIOUS_RUN_FAILED = sa.text("""
/* enerflo-sync airflow: did the run before this one fail? */
select state = 'failed' from sync.runs
where account = :account and job = :job and run_id <> :run_id
order by started_at desc limit 1
""")


class IngestDropOperator(BaseOperator):
    """Ingests the webhook files in the account's drop, and reads their records from Enerflo.

    Also succeeds if input was quarantined or could not be read (``state`` = partial), with a note that says
    so: everything else is stored, and the next run continues with what waits.

    :param account: name of the account in sync.yaml.
    :return: counts and ids of the run, and ``mirror_changed``.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (FreshnessLink(),)
    ui_color = "#e8f3ec"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the ingest and return its counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.ingest import run_ingest

        with (
            noted_failure(context),
            moving_records(),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            report = run_ingest(opened, run_id=engine_run_id(context))
            send_run(report, opened)
            changed = changed_mirror(report) or _was_tried_before(opened, report.job, context)
        note = ingest_note(report)
        self.log.info("ingest_finished state=%s %s", report.state, note)
        keep_note(context, note)
        return counts_of(report, mirror_changed=changed)


def _was_tried_before(opened: AccountContext, job: str, context: Context) -> bool:
    """Return whether an earlier try or run may have stored records without announcing them.

    Asks the warehouse: a run started by an asset has no logical date, by which Airflow would find the
    previous run.
    """
    if context["ti"].try_number > 1:
        return True
    # Import late, so that parsing a DAG file does not import psycopg.
    from enerflo_sync.warehouse.engine import warehouse_errors

    values = {"account": opened.account, "job": job, "run_id": engine_run_id(context)}
    with warehouse_errors("ingest"), opened.engine.connect() as connection:
        return bool(connection.scalar(_PREVIOUS_RUN_FAILED, values))
