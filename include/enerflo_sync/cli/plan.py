"""``enerflo-sync plan``: decide what to write on either side, and show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.text import Text

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.files import write_whole
from enerflo_sync.cli.groups import Group, finish_each, require_one_account
from enerflo_sync.cli.output import Account, Exit, Json, console, errors, standard_output
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.pages.plans import read_plan_page, render_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.plan.render import plan_lines, write_plan
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided, show_plan
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.warehouse.engine import warehouse_errors


class PlanFormat(StrEnum):
    """The output format of a plan."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


def command(
    account: Account = "default",
    group: Group = None,
    plan_format: Annotated[
        PlanFormat,
        typer.Option("--format", help="json holds every change, the others samples."),
    ] = PlanFormat.TEXT,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F", help="Write to this file, not to standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide about every difference between Enerflo and the CRM, and show what would be written where.

    Writes nothing on either side. The plan is stored under a hash of its content; `apply HASH` makes exactly
    these changes, each only if it still finds the value that the plan expects. If some of the changes need
    a person's approval (`approval` in sync.yaml) and the others do not, there are two plans: the one that
    needs nobody comes first, and `plans` of the JSON lists both. Exit code 1 when a plan waits for an
    approval, or in report mode would wait for one. A change that a person refused is not part of a plan; it
    is listed with the name (`reopen`). Personal data is masked in every format.
    """
    if out is not None or plan_format is PlanFormat.HTML:
        require_one_account(group, "--out" if out is not None else "--format html")

    def make_plan(context: AccountContext) -> Exit:
        with progress_bars() as tick:
            plans = run_plan(context, progress=tick)
        print_plan(context, plans[0], PlanFormat.JSON if as_json else plan_format, out, plans)
        run_seal(context)
        return Exit.NEEDS_A_PERSON if any(plan.waits_for_approval for plan in plans) else Exit.DONE

    is_json = as_json or plan_format is PlanFormat.JSON
    finish_each(account, group, make_plan, as_json=is_json)


def print_plan(
    context: AccountContext,
    plan: PlanReport,
    plan_format: PlanFormat,
    out: Path | None,
    plans: Sequence[PlanReport] = (),
) -> None:
    """Print a stored plan, or write it to a file.

    :param plans: all plans of the round; text shows all of them, HTML and JSON the first.
    """
    plans = plans or [plan]
    if out is not None:
        write_whole(out, _writer(context, plans, plan_format))
        errors.print(f"Written to {out}.")
    elif plan_format is PlanFormat.TEXT:
        for number, one in enumerate(plans):
            if number:
                console.print("\n", end="")
            _print_text(context, one)
    else:
        _writer(context, plans, plan_format)(standard_output())
        sys.stdout.flush()


def _print_text(context: AccountContext, plan: PlanReport) -> None:
    with warehouse_errors("plan"), context.engine.connect() as connection:
        shown = show_plan(connection, context.config, context.account, plan.plan_hash)
    for line in plan_lines(shown):
        console.print(Text(line.text.rstrip(), style=line.style), soft_wrap=True)
    if plan.change_count and plan.mode != "report":
        approve = ' --approve "YOUR NAME"' if plan.waits_for_approval else ""
        console.print(f"\nApply it with: enerflo-sync apply {plan.plan_hash[:12]}{approve}", markup=False)


def _writer(
    context: AccountContext, plans: Sequence[PlanReport], plan_format: PlanFormat
) -> Callable[[BinaryIO], None]:
    config, account, plan = context.config, context.account, plans[0]

    def write(stream: BinaryIO) -> None:
        with warehouse_errors("plan"), context.engine.connect() as connection:
            if plan_format is PlanFormat.JSON:
                tables = config.tables_for(account)
                questions = masked_undecided(read_undecided(connection, account, plan.plan_hash), tables)
                changes = masked_changes(read_changes(connection, account, plan.plan_hash), tables)
                write_plan(plan, changes, questions, stream, plans)
                return
            if plan_format is PlanFormat.HTML:
                page = read_plan_page(connection, config, account, plan.plan_hash)
                stream.write(render_plan(page, config.tables_for(account)).encode())
                return
            shown = [show_plan(connection, config, account, one.plan_hash) for one in plans]
        for one in shown:
            stream.writelines(f"{line.text.rstrip()}\n".encode() for line in plan_lines(one))

    return write
