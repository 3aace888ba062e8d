"""``enerflo-sync witnesses``: which changes the poll saw, and which a webhook reported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.gaps import read_witnesses
from enerflo_sync.mirror.witness_report import DAYS, WitnessReport
from enerflo_sync.reconcile.render.witness_texts import HEAD, event_rows, witness_cells, witness_sentence


def command(
    account: Account = "default",
    days: Annotated[
        int, typer.Option("--days", min=1, max=90, help="How many days back, in UTC; today is one of them.")
    ] = DAYS,
    as_json: Json = False,
) -> None:
    """Show which changes of the last days poll and webhooks saw, per event and day, and how late.

    Both see the same changes independently. missed: the poll saw it, and no webhook came within an hour.
    late: the webhook came after the poll. unconf.: a webhook reported it, and no poll found it. replaced: it
    changed again before a poll came. waiting: too early to say. Times are from the change to its webhook.
    """
    report = read_witnesses(open_account(account, os.environ), days=days)
    if as_json:
        print_json({"sentence": witness_sentence(report), **msgspec.to_builtins(report)})
    else:
        console.print(witness_sentence(report))
        if report.by_day:
            console.print("\n".join(_lines(report)), markup=False)
    finish(Exit.DONE)


def _lines(report: WitnessReport) -> list[str]:
    """Return the table, days first, at its full width, since a script may read its columns."""
    rows: list[Sequence[str]] = [("day", "event", *HEAD)]
    rows += [(str(one.day), one.event or "", *witness_cells(one)) for one in report.by_day]
    rows += [("all days", name, *cells) for name, cells in event_rows(report)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<" + ">" * len(HEAD)
    forms = [f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True)]
    return ["  ".join(forms).format(*row).rstrip() for row in rows]
