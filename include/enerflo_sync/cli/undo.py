"""``enerflo-sync undo``: make a plan that reverses an applied plan."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish
from enerflo_sync.cli.plan import PlanFormat, print_plan
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.render.text import undo_words


def command(
    plan_hash: Annotated[
        str,
        typer.Argument(metavar="PLAN_HASH", help="The applied plan, or the first eight characters of it."),
    ],
    account: Account = "default",
    as_json: Json = False,
) -> None:
    """Make a plan that reverses what an applied plan wrote. Nothing is written: apply it like any other.

    Each value returns to what it was, a created row is deleted, a deleted row is restored. Left to you, with
    the reason: values that changed since, and notes and leads sent to Enerflo, which cannot take them back.
    Exit code 1 while the new plan waits for an approval or leaves something to you.
    """
    context = open_account(account, os.environ)
    plan = run_undo(context, plan_hash)
    if not as_json:
        console.print(undo_words(plan), markup=False)
    print_plan(context, plan, PlanFormat.JSON if as_json else PlanFormat.TEXT, None)
    finish(Exit.NEEDS_A_PERSON if plan.waits_for_approval or plan.undecided else Exit.DONE)
