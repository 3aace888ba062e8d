"""``enerflo-sync backfill``: read chosen installs again, at lower priority than live work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from enerflo_sync.backfill.context import WORKERS
from enerflo_sync.backfill.ids import ids_of_file, ids_of_query, ids_of_text
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.request import (
    ALL_PARTS,
    BackfillRequest,
    Part,
    named_request,
    whole_request,
    window_request,
)
from enerflo_sync.backfill.store import State
from enerflo_sync.backfill.texts import estimate_lines, report_lines
from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.context import AccountContext, open_account
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.revision import require_migrated

_DATE = "A day (2023-04-01) or a moment (2023-04-01T12:00Z), in UTC."


def command(
    account: Account = "default",
    start: Annotated[
        str | None, typer.Option("--from", metavar="D", help=f"Installs created from here on. {_DATE}")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="D", help=f"Installs created until here; a day counts to its end. {_DATE}"
        ),
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", metavar="IDS", help="Install ids or deal uuids, with commas.")
    ] = None,
    ids_file: Annotated[
        Path | None, typer.Option("--ids-file", metavar="F", help="A file with one id or uuid on each line.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="SQL", help="A query of the warehouse; its first column has ids."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Every install that Enerflo lists.")
    ] = False,
    resource: Annotated[
        list[Part] | None,
        typer.Option("--resource", help="Read only this resource; repeatable."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only estimate; --resume ID reads it later.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="ID", help="Continue a backfill that was estimated or ended early."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=8, help="Chunks read in parallel.")
    ] = WORKERS,
    as_json: Json = False,
) -> None:
    """Read a window of creation dates, named installs or everything again, with milestones, notes and orders.

    Prints an estimate first. Polls and webhooks have priority: a backfill uses at most half of the request
    budget while they run, and nearly all of it otherwise. If it is killed, --resume continues. Records
    that it loads cause no notifications, and the next plan marks their changes as coming from a backfill.
    Exit code 1 when it finished and records were quarantined, a part was not read, or Enerflo knows no
    install that was named.
    """
    context = open_account(account, os.environ)
    request = _request(context, start, end, ids, ids_file, query, everything, resource)
    if request is None and resume is None:
        raise ConfigurationError(
            "nothing says which installs.",
            where="enerflo-sync backfill",
            next_step="Give --from and --to, --ids, --ids-file, --query, --everything, or --resume.",
        )
    if resume is not None and estimate:
        raise ConfigurationError(
            "--resume and --estimate exclude each other.",
            where="enerflo-sync backfill",
            next_step="Its estimate was printed when it began; sync.backfills stores it.",
        )
    with moving_records(for_long=True), progress_bars(rates=True) as tick:
        backfills = open_backfills(context, progress=tick, workers=workers)
        if resume is not None:
            report = backfills.resume(resume, request)
        elif request is not None and estimate:
            report = backfills.estimate(request)
        elif request is not None:
            report = backfills.backfill(
                request, estimated=lambda early: None if as_json else print_estimate(early)
            )
    if as_json:
        print_json(_json(report))
    elif report.state is State.ESTIMATED:
        print_estimate(report)
        console.print(f"\nRead it with: enerflo-sync backfill --resume {report.backfill_id}", markup=False)
    else:
        print_backfill(report)
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)


def _json(report: BackfillReport) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(report)
    errors = {one.name: one.error_percent for one in report.compared}
    return {**found, "error_percent": errors}


def _request(
    context: AccountContext,
    start: str | None,
    end: str | None,
    ids: str | None,
    ids_file: Path | None,
    query: str | None,
    everything: bool,
    resource: list[Part] | None,
) -> BackfillRequest | None:
    """Return the request in the options; None if there is none.

    :raises ConfigurationError: the options exclude each other, or one is invalid.
    """
    window = start is not None or end is not None
    named = [one is not None for one in (ids, ids_file, query)]
    if sum((window, any(named), everything)) > 1:
        raise ConfigurationError(
            "a window, ids and --everything exclude each other.",
            where="enerflo-sync backfill",
            next_step="Choose one of them.",
        )
    parts = frozenset(resource) if resource else ALL_PARTS
    if everything:
        return whole_request(parts=parts)
    if window:
        return window_request(start, end, now=context.clock.now(), parts=parts)
    if not any(named):
        return None
    found: list[tuple[list[int], list[str]]] = []
    found += [ids_of_text(ids, "--ids")] if ids is not None else []
    found += [ids_of_file(ids_file)] if ids_file is not None else []
    if query is not None:
        require_migrated(context.engine)
        found.append(ids_of_query(context.engine, query))
    installs = [one for some, _ in found for one in some]
    return named_request(installs, [one for _, some in found for one in some], parts=parts)


def print_estimate(report: BackfillReport) -> None:
    """Print the estimate of a backfill."""
    console.print(f"[bold]{report.backfill_id}[/] {State.ESTIMATED}")
    for line in estimate_lines(report):
        console.print(f"  {escape(line)}")


def print_backfill(report: BackfillReport) -> None:
    """Print the result of a backfill."""
    console.print(f"[bold]{report.backfill_id}[/] {report.state}")
    for line in report_lines(report):
        console.print(f"  {escape(line)}")
