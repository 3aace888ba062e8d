"""``enerflo-sync ingest``: load dropped webhook payloads into the mirror."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.poll import print_run
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.process import moving_records


def command(
    account: Account = "default",
    archive_since: Annotated[
        datetime | None,
        typer.Option(
            "--archive-since",
            metavar="DAY",
            formats=["%Y-%m-%d"],
            help="Instead of the drop, read the archive's files from this day on (UTC) whose events the"
            " warehouse does not have: after it was restored, or set back to an earlier moment.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Load the webhook files of the drop, and read their records from Enerflo.

    The drop is WEBHOOK_DROP_URI, or webhook_drop_uri of sync.yaml: a folder, s3://, gs:// or abfs://. Each
    event is stored once, then its file moves to the archive beside the drop. Unusable input goes to
    sync.quarantine with its file, position and reason. An ingest that was killed is completed by the next
    one. Exit code 1 when input was quarantined, or a part was not read.
    """
    context = open_account(account, os.environ)
    with moving_records(), progress_bars() as tick:
        since = archive_since.date() if archive_since is not None else None
        report = run_ingest(context, progress=tick, archive_since=since)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        print_run(
            report,
            nothing="No finished file lay in the drop."
            if since is None
            else "The archive has no file that is not known.",
        )
        if since is not None:
            console.print(
                "What a person refused since a backup was made is not in it, and may be planned again: look"
                " at the next plan before anything is applied, by hand or by DAGs.",
                markup=False,
            )
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)
