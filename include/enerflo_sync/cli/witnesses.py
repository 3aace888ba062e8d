"""``enerflo-sync witnesses``: which changes the poll saw, and which a webhook told."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.jobs import open_workplace
from enerflo_sync.mirror.witness_report import DAYS, WitnessReport
from enerflo_sync.reconcile.render.witness_texts import ALL_EVENTS, HEAD, witness_cells, witness_sentence


def command(
    account: Account = "default",
    days: Annotated[
        int, typer.Option("--days", min=1, max=90, help="How many days back, in UTC; today is one of them.")
    ] = DAYS,
    as_json: Json = False,
) -> None:
    """Show which changes of the last days poll and webhooks saw, per event and day, and how late.

    Both see the same changes independently. missed: the poll saw it, and for an hour no webhook came. late:
    the webhook came after the poll. unconf.: a webhook told of it, and no poll found it. replaced: it changed
    again before a poll came. waiting: too early to say. Times are from the change to its webhook.
    """
    report = open_workplace(account, os.environ).witnesses(days=days)
    if as_json:
        print_json({"sentence": witness_sentence(report), **msgspec.to_builtins(report)})
    else:
        console.print(witness_sentence(report))
        if report.by_day:
            console.print(_table(report))
    finish(Exit.DONE)


def _table(report: WitnessReport) -> Table:
    table = Table("day", "event", box=None, pad_edge=False, header_style="dim")
    for title in HEAD:
        table.add_column(title, justify="right", no_wrap=True)
    for figures in report.by_day:
        table.add_row(str(figures.day), figures.event, *witness_cells(figures))
    for figures in report.by_event:
        table.add_row("all days", figures.event, *witness_cells(figures), style="bold")
    table.add_row("all days", ALL_EVENTS, *witness_cells(report.total), style="bold")
    return table
