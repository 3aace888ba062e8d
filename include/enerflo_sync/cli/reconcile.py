"""``enerflo-sync reconcile``: compare the mirror with the CRM's tables and report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.files import write_whole
from enerflo_sync.cli.groups import Group, finish_each, require_one_account
from enerflo_sync.cli.output import Account, Exit, Json, errors, standard_output
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.render import ReportFormat, write_report
from enerflo_sync.reconcile.render.verdict import is_all_clear, verdict_text
from enerflo_sync.reconcile.store import read_differences


def command(
    account: Account = "default",
    group: Group = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compare every row, not only what changed since the last run.")
    ] = False,
    report_format: Annotated[
        ReportFormat, typer.Option("--format", help="csv, xlsx and parquet hold every difference, one a row.")
    ] = ReportFormat.TEXT,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F", help="Write to this file, not to standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare Enerflo's values (the mirror) with those of the CRM tables; each difference has its cause.

    Reads the warehouse, and the CRM's tables where they are in another database; asks Enerflo nothing and
    writes nothing of yours. Exit code 1 when more is unexplained than sync.yaml allows, and when the
    comparison cannot be trusted: nothing to compare, keys that hardly meet or meet in another spelling only,
    rows of a table gone at once, Enerflo not read although the second poll since was due an hour ago, no row
    of a copy within its arrives_within_hours. Personal data is masked in every format.
    """
    if as_json:
        report_format = ReportFormat.JSON
    if report_format.is_binary and out is None and sys.stdout.isatty():
        raise ConfigurationError(
            f"{report_format} is not for a terminal.",
            where=f"--format {report_format}",
            next_step="Add --out FILE.",
        )
    if out is not None or report_format not in (ReportFormat.TEXT, ReportFormat.JSON):
        require_one_account(group, "--out" if out is not None else f"--format {report_format}")

    def reconcile(context: AccountContext) -> Exit:
        with progress_bars() as tick:
            report = run_reconcile(context, full=full, progress=tick)
        config, name, differences = context.config, context.account, None
        if report_format.carries_all_differences:
            differences = read_differences(context.engine, config, name, report.reconciliation_id)
        tables = config.tables_for(name)
        if out is None:
            is_data = report_format.carries_all_differences
            write_report(report, report_format, standard_output(is_data=is_data), differences, tables)
            sys.stdout.flush()
        else:
            write_whole(out, lambda stream: write_report(report, report_format, stream, differences, tables))
            errors.print(f"Written to {out}. {verdict_text(report).headline}.", markup=False)
        return Exit.DONE if is_all_clear(report) else Exit.NEEDS_A_PERSON

    finish_each(account, group, reconcile, as_json=report_format is ReportFormat.JSON)
