"""``enerflo-sync retry``: let the next plan include parked changes again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.quarantine import By, who
from enerflo_sync.counted import count_of
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.retry import run_retry
from enerflo_sync.plan.parts import record_name
from enerflo_sync.plan.retry import ParkedChange, RetryReport, RetrySelection
from enerflo_sync.reconcile.record import RECORD_WORDS
from enerflo_sync.reconcile.render.wording import visible

_MOST_LINES = 50


def command(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help=RECORD_WORDS)] = None,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The record's key, as explain takes it.")
    ] = None,
    account: Account = "default",
    field: Annotated[
        str | None, typer.Option("--field", metavar="F", help="Only this CRM column of the record.")
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="HASH", help="All parked changes of this plan.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="WORDS", help="All whose reason contains these words.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All parked changes.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Let the next plan include changes again that could not be made; without a selection, list them.

    A parked change is held back for a day. Correct its cause, then select it here: by record, by plan, by
    reason, or all. Nothing is written now: the next plan contains it, with an approval if one is needed. Exit
    code 1 when changes are listed without a selection; 2 when no parked change matches.
    """
    context = open_account(account, os.environ)
    chosen = RetrySelection(table, key, field, plan, reason, everything)
    report = run_retry(context, chosen, by=who(by))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        tables = context.config.tables_for(context.account)
        _print(report, {name: table.key_columns for name, table in tables.items()})
    finish(Exit.NEEDS_A_PERSON if report.changes and not report.retried else Exit.DONE)


def _print(report: RetryReport, key_columns: Mapping[str, Sequence[str]]) -> None:
    if not report.changes:
        console.print("Nothing is parked.")
        return
    what = "tried again by the next plan" if report.retried else "parked and held back for a day"
    verb = "is" if len(report.changes) == 1 else "are"
    console.print(f"{count_of(len(report.changes), 'change')} {verb} {what}:", markup=False)
    for change in report.changes[:_MOST_LINES]:
        console.print(f"  {_line(change, key_columns.get(change.table_name, ()))}", markup=False)
    if len(report.changes) > _MOST_LINES:
        console.print(f"  … and {len(report.changes) - _MOST_LINES:,} more (--json has all).", markup=False)
    if report.retried:
        console.print("Next: enerflo-sync plan.")
        return
    reasons = Counter(change.reason or "unknown" for change in report.changes)
    for reason, count in reasons.most_common():
        console.print(f"{count:,}  {visible(reason)}", markup=False)
    console.print(
        "Try them again with: enerflo-sync retry TABLE KEY, --plan, --reason or --all.", markup=False
    )


def _line(change: ParkedChange, columns: Sequence[str]) -> str:
    side = "in the CRM" if change.direction == "to_crm" else "at Enerflo"
    field = f".{change.field}" if change.field else ""
    name = f"{change.table_name}{visible(field)} {visible(record_name(change.key, columns))}"
    since = f"{change.parked_at:%Y-%m-%d %H:%M} UTC (plan {change.plan_hash[:12]})"
    return f"{name}: {change.op} {side}, parked at {since}"
