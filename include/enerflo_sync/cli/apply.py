"""``enerflo-sync apply``: make the changes of a plan."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of, number
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.jobs.plan import read_stored_plan
from enerflo_sync.plan.earlier_decisions import decided_words, require_not_expired
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.report import PlanReport, PlanState


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
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PART",
            help="Decide about this part alone: TABLE, TABLE.FIELD, TABLE:KEY or TABLE:KEY.FIELD, as in"
            " milestones, installs.status, installs:12345 or milestones:12345/7.completed_at. Repeatable.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--except", metavar="PART", help="Decide about all but this part. Repeatable."),
    ] = None,
    rest: Annotated[
        Rest,
        typer.Option("--rest", help="What becomes of the changes that were not chosen."),
    ] = Rest.OPEN,
    because: Annotated[
        str | None, typer.Option("--because", metavar="WHY", help="Why it is rejected; the ledger keeps it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make exactly the changes of a plan: first the CRM's, in one transaction, then Enerflo's, one by one.

    A value that changed since the plan was made is left alone; the next plan contains it. A change that the
    other side refuses is parked with its reason, and the others continue. Killed at any point, the same
    command completes it without writing anything twice. Exit code 1 when a change was not made and nobody
    refused it.

    A plan may be approved or rejected in parts (--only, --except). The changes that were not chosen stay open
    under the same hash, or are refused (--rest refuse). A new row is chosen as a whole, and changes that must
    be made together are not separated. A rejected change stays refused in every later plan, until one of its
    values changes or `enerflo-sync reopen`.

    A plan that somebody rejected before may be approved after all; a rejection that arrives while this
    command runs wins. --reject also takes back an approval of which nothing was made yet.

    Where two persons have to approve (approval.second_person), the first --approve is noted, writes nothing,
    and ends with exit code 1; the plan is applied with the --approve of another person.
    """
    if approve is not None and reject is not None:
        raise ConfigurationError(
            "both were given.", where="--approve, --reject", next_step="Give one of them."
        )
    if because is not None and reject is None:
        raise ConfigurationError(
            "there is nothing to give a reason for.", where="--because", next_step="It goes with --reject."
        )
    part = Part(only or (), without or (), rest)
    if part.whole and rest is Rest.REFUSE:
        raise ConfigurationError(
            "nothing was chosen, so there is no rest.",
            where="--rest",
            next_step="Choose a part with --only or --except.",
        )
    context = open_account(account, os.environ)
    before = read_stored_plan(context, plan_hash) if approve is not None or reject is not None else None
    if reject is not None:
        plan = run_reject(context, plan_hash, by=reject, reason=because, part=part)
        if plan.state in (PlanState.EXPIRED, PlanState.SUPERSEDED):
            # It has ended, so nothing was refused: the same changes may stand in a later plan.
            require_not_expired(plan, plan.expires_at)
        _print_rejected(plan, by=reject, as_json=as_json)
        if before is not None and before.state is PlanState.APPROVED and not as_json:
            console.print(f"The approval by {before.decided_by} is taken back.", markup=False)
        finish(Exit.NEEDS_A_PERSON if plan.waits_for_approval else Exit.DONE)
    with progress_bars() as tick:
        report = run_apply(context, plan_hash, approved_by=approve, part=part, progress=tick)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        is_overruled = before is not None and before.state is PlanState.REJECTED and before.decided_by
        if before is not None and is_overruled and not report.message:
            console.print(f"It was {decided_words(before)}: overruled by {report.decided_by}.", markup=False)
        _print(report)
    run_seal(context)
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)


def _print_rejected(plan: PlanReport, *, by: str, as_json: bool) -> None:
    left, refused = plan.states.get("planned", 0), plan.states.get("refused", 0)
    if as_json:
        print_json(
            {
                "plan_hash": plan.plan_hash,
                "state": str(plan.state),
                "decided_by": plan.decided_by,
                "refused": refused,
                "left_open": left,
            }
        )
        return
    # A part may have been decided, and applied, before.
    what = "A part of plan" if left else "The rest of plan" if plan.rest_rejected else "Plan"
    stand = (
        f" Of its changes {number(refused)} are refused by now, and {number(left)} stay open." if left else ""
    )
    console.print(
        f"{what} {plan.plan_hash[:12]} rejected by {by.strip()}; nothing was written now.{stand}",
        markup=False,
    )


def _print(report: ApplyReport) -> None:
    if report.message:
        console.print(report.message, markup=False)
        return
    before = f" ({number(report.before)} of them before)" if report.before else ""
    console.print(
        f"{count_of(report.applied, 'change')} applied{before}, decided by {report.decided_by}.", markup=False
    )
    if report.handed_over:
        console.print(
            f"  {number(report.handed_over)} handed over for the CRM (sync.crm_changes): on their way until"
            " the copy shows them.",
            markup=False,
        )
    for state, what in (
        ("moved", "left alone, since the value moved; the next plan starts from the present one"),
        ("parked", "could not be made"),
        ("refused", "refused"),
    ):
        count = getattr(report, state)
        if count:
            console.print(f"  {number(count)} {what}:", markup=False)
            for reason, n in report.reasons.get(state, {}).items():
                console.print(f"    {number(n)}  {reason}", markup=False)
    if report.left_open:
        console.print(f"  {number(report.left_open)} stay open: nobody decided about them yet.", markup=False)
    if report.waiting:
        console.print(f"  {number(report.waiting)} wait: run the same command again.", markup=False)
    if report.stopped:
        console.print(f"  {report.stopped}", markup=False)
