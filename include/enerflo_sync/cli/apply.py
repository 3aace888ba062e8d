"""``enerflo-sync apply``: make the changes of a plan."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json, progress_bars
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs import open_workplace
from enerflo_sync.reconcile.render.wording import count_of, number
from enerflo_sync.sync.apply import ApplyReport
from enerflo_sync.sync.plan_report import PlanReport


def command(
    plan_hash: Annotated[
        str, typer.Argument(metavar="PLAN_HASH", help="As `plan` printed it; eight characters are enough.")
    ],
    account: Account = "default",
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="NAME", help="Approve it, in the name of this person.")
    ] = None,
    reject: Annotated[
        str | None, typer.Option("--reject", metavar="NAME", help="Reject it instead; nothing is written.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make exactly the changes of a plan: first the CRM's, in one transaction, then Enerflo's, one by one.

    A value that moved since the plan was made is left alone and stands in the next plan. What the other side
    refuses is parked with its reason, and the rest goes on. Killed at any point, the same command completes
    it without writing anything twice. Exit code 1 when something was not made.
    """
    if approve is not None and reject is not None:
        raise ConfigurationError(
            "both were given.", where="--approve, --reject", next_step="Give one of them."
        )
    workplace = open_workplace(account, os.environ)
    if reject is not None:
        plan = workplace.reject(plan_hash, by=reject)
        _print_rejected(plan, as_json=as_json)
        finish(Exit.DONE)
    with progress_bars() as tick:
        report = workplace.apply(plan_hash, approved_by=approve, progress=tick)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _print(report)
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)


def _print_rejected(plan: PlanReport, *, as_json: bool) -> None:
    if as_json:
        print_json({"plan_hash": plan.plan_hash, "state": str(plan.state), "decided_by": plan.decided_by})
    else:
        console.print(f"Plan {plan.plan_hash[:12]} rejected by {plan.decided_by}; nothing was written.")


def _print(report: ApplyReport) -> None:
    console.print(
        f"{count_of(report.applied, 'change')} applied, decided by {report.decided_by}.", markup=False
    )
    for state, what in (
        ("moved", "left alone, since the value moved; the next plan has it"),
        ("parked", "could not be made"),
        ("refused", "refused"),
    ):
        count = getattr(report, state)
        if count:
            console.print(f"  {number(count)} {what}:", markup=False)
            for reason, n in report.reasons.get(state, {}).items():
                console.print(f"    {number(n)}  {reason}", markup=False)
    if report.waiting:
        console.print(f"  {number(report.waiting)} wait: run the same command again.", markup=False)
    if report.stopped:
        console.print(f"  {report.stopped}", markup=False)
