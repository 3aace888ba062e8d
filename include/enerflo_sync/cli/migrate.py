"""``enerflo-sync migrate``: make or update the warehouse's tables."""

from __future__ import annotations

import os

from enerflo_sync.cli.output import Account, Json, console, print_json
from enerflo_sync.jobs.context import open_account
from enerflo_sync.warehouse.migrate import migrate


def command(account: Account = "default", as_json: Json = False) -> None:
    """Bring the warehouse to this version's tables. Safe to run at any time, and twice at once.

    It makes the schemas enerflo and sync; the tables of your CRM are never touched.
    """
    context = open_account(account, os.environ)
    before, after = migrate(context.engine)
    if as_json:
        print_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        console.print(f"The warehouse is already at revision {after}.")
    else:
        console.print(f"The warehouse went from revision {before or 'none'} to {after}.")
