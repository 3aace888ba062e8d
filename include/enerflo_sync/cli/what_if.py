"""``enerflo-sync what-if``: show the effect of another mapping without applying it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.what_if import run_what_if
from enerflo_sync.plan.what_if_text import render_what_if


def command(
    file: Annotated[
        Path, typer.Argument(metavar="NEW.yaml", help="Another sync.yaml: a copy of yours with your changes.")
    ],
    account: Account = "default",
    days: Annotated[
        int, typer.Option("--days", min=1, max=3650, help="How many days of past decisions to repeat.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Show the effect of another mapping: on the present plan, and on the decisions of the last days.

    First the changes that only one of the two mappings would plan now, or that differ in value or direction;
    then past decisions that would have been different, from the facts in the ledger. Writes nothing and sends
    no request. Personal data is masked. Exit code 0, whatever differs.
    """
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        report = run_what_if(context, file, os.environ, days=days, progress=tick)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        tables = context.config.tables_for(context.account)
        key_columns = {name: table.key_columns for name, table in tables.items()}
        console.print(render_what_if(report, key_columns), markup=False, end="")
    finish(Exit.DONE)
