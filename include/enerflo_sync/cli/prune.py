"""``enerflo-sync prune``: delete what is older than sync.yaml keeps it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import number
from enerflo_sync.crm.retention import Kept
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.prune import run_prune
from enerflo_sync.reconcile.render.wording import size_text
from enerflo_sync.retention.report import PrunedKind, PruneReport


def command(
    account: Account = "default",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted: rows, bytes, the oldest.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what the section retention of sync.yaml keeps no longer, and that nothing needs.

    Raw versions are thinned, bodies of webhooks emptied; files of the archive, differences, reports, plans
    that ended, runs and looks at tables that are not mapped any more are deleted. The ledger is kept unless
    ledger_days thins it, and so is whatever a plan that waits, an open item in quarantine, a write on its
    way, a backfill, a replay or a rebuild needs (docs/retention.md).

    In short transactions, beside polls, plans and reports: killed at any point, the same command continues.
    What is written at that moment is left to the next run.
    """
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        report = run_prune(context, dry=dry_run, progress=tick)
    if as_json:
        document = msgspec.to_builtins(report)
        print_json({**document, "deleted": report.deleted, "rows": report.rows, "size": report.size})
    else:
        for line in _lines(report):
            console.print(Text(line), soft_wrap=True)
    finish(Exit.DONE)


def _lines(report: PruneReport) -> Iterator[str]:
    verb = "Deleted" if report.deleted else "Would delete"
    size = f", about {size_text(report.size)}" if report.rows else ""
    noun = "row or file" if report.rows == 1 else "rows or files"
    what = f"{number(report.rows)} {noun}" if report.rows else "nothing"
    yield f"{verb} {what}{size}."
    for one in report.kinds:
        yield _line(one)
    for place in report.left:
        yield f"Files in the former archive {place} are older, and not deleted: delete them there by hand."
    if not report.deleted and report.rows:
        yield "Nothing was deleted: leave --dry-run out to delete it."
        if any(one.kind is Kept.PLANS and one.rows for one in report.kinds):
            yield "More may go: what stands only for a plan that goes with it is not counted here."


def _line(one: PrunedKind) -> str:
    name = f"  {one.kind.replace('_', ' '):<15}"
    if one.before is None:
        return f"{name} kept for ever ({one.option})"
    span = f"before {one.before:%Y-%m-%d} ({one.option}: {one.days})"
    if one.not_read:
        return f"{name} {one.not_read}; {span}"
    if not one.rows:
        return f"{name} {number(0):>12}  {span}"
    oldest = f", the oldest of {one.oldest:%Y-%m-%d}" if one.oldest is not None else ""
    return f"{name} {number(one.rows):>12}  {size_text(one.size):>9}{oldest}  {span}"
