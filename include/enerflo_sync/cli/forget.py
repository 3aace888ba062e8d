"""``enerflo-sync forget``: erase the personal data of one customer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.quarantine import By, who
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.reconcile.render.wording import count_of, number
from enerflo_sync.retention.forget import ForgetReport


def command(
    customer: Annotated[
        int, typer.Option("--customer", min=1, metavar="ID", help="The customer's number at Enerflo.")
    ],
    account: Account = "default",
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase; without it, only show what would be erased.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Erase the personal data of one customer, wherever this project keeps it.

    Names, e-mail, phone, addresses and bodies of notes: in the mirror, raw versions, webhook events, archived
    files, ledger, plans, differences, agreed values, quarantine and messages. Keys, statuses, dates and
    counts stay, and the ledger still says what was decided. A receipt without personal data stays in
    sync.forgotten.

    Nothing brings the data back: while the receipt stands, a poll, a webhook, a replay or a rebuild stores
    the customer's records without it, and the mapped fields that hold it are neither compared nor planned.
    The CRM's own rows and Enerflo are not touched: erase there as well.

    Refused while a change of the customer's records waits in a plan or is on its way. Exit code 1 when an
    archive that webhooks went to before could not be read: erase there by hand.
    """
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        report = run_forget(context, customer, by=who(by), write=yes, progress=tick)
    if as_json:
        print_json({**msgspec.to_builtins(report), "erased": report.erased})
    else:
        for line in _lines(report):
            console.print(Text(line), soft_wrap=True)
    finish(Exit.NEEDS_A_PERSON if report.not_read else Exit.DONE)


def _lines(report: ForgetReport) -> Iterator[str]:
    verb = "Erased" if report.erased else "Would erase"
    installs = count_of(len(report.installs), "install")
    total = sum(report.counts.values())
    whose = f"customer {report.customer_id} with {installs}"
    yield f"{verb} personal data of {whose} in {number(total)} rows and files."
    for name, rows in report.counts.items():
        yield f"  {name:<32} {number(rows):>8}"
    if report.shared:
        left = "was left" if report.erased else "would be left"
        yield f"Other customers have {', '.join(report.shared)} too: a document that only this names {left}."
    for place in report.not_read:
        yield f"The former archive {place} could not be read: what it holds of them is still there."
    for place in report.not_there:
        yield f"The former archive {place} has no file here: where it lies elsewhere, erase there as well."
    if report.erased:
        yield f"The receipt is in sync.forgotten, run {report.run_id}. The CRM's own rows were not touched."
    else:
        yield "Nothing was erased: add --yes to erase it. It cannot be undone."
