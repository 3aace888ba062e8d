"""``enerflo-sync carry``: carry approved changes that are still open to the CRM."""

from __future__ import annotations

import os

import msgspec

from enerflo_sync.apply.carry import CarryReport
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of, number
from enerflo_sync.jobs.carry import run_carry
from enerflo_sync.jobs.context import open_account


def command(account: Account = "default", as_json: Json = False) -> None:
    """Carry approved changes that are still open to Salesforce, or to a CRM in another database.

    `apply` carries changes itself. A change stays open if the CRM was away, or if the day's requests were
    used up. The next apply tries it again; this command does so without a new plan. Exit code 1 when a change
    was not made or stays open.
    """
    report = run_carry(open_account(account, os.environ))
    if as_json:
        print_json(msgspec.to_builtins(report))
    elif report is None:
        console.print(
            "No table of this account has write_to: salesforce, and nothing waits for a CRM in another"
            " database (accounts.*.crm), so there is nothing to carry.",
            markup=False,
        )
    else:
        console.print("\n".join(carried(report)), markup=False)
    waits = report is not None and (report.unmade or report.open)
    finish(Exit.NEEDS_A_PERSON if waits else Exit.DONE)


def carried(report: CarryReport) -> list[str]:
    """Return the outcomes of the changes as lines of text."""
    lines = [f"{count_of(report.taken, 'change')} taken to the CRM."]
    if report.unmade:
        lines.append(f"  {number(report.unmade)} could not be made: the plan's report says why.")
    if report.open:
        lines.append(f"  {number(report.open)} stay open.")
    if report.stopped:
        lines.append(f"  {report.stopped}")
    return lines
