"""``enerflo-sync quality``: check change orders and life cycles; show held orders, findings and reasons."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.quality import run_quality
from enerflo_sync.quality.render.text import quality_text


def command(
    account: Account = "default",
    full: Annotated[
        bool, typer.Option("--full", help="Check all orders and installs again, not only changed ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the change orders that are new or changed, by include/config/change_orders.yaml.

    An order that fails a check of severity hold does not reach the CRM until it is corrected, a limit in that
    file is changed, or a person releases it: enerflo-sync quarantine release. Each order is checked once, and
    again when it or its reference data changes. Exit code 1 when an order is held.

    The milestones of installs are judged as well, by include/config/life_cycle.yaml: impossible and overdue
    histories are findings, which are shown and hold nothing back.
    """
    report = run_quality(open_account(account, os.environ), full=full)
    if as_json:
        print_json({**msgspec.to_builtins(report), "needs_a_person": report.needs_a_person})
    else:
        console.print(quality_text(report), markup=False, end="")
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)
