"""``enerflo-sync forget``: erase the personal data of customers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.quarantine import By, who
from enerflo_sync.counted import count_of, number
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.forget import run_forget_customers
from enerflo_sync.retention.forget import ForgetReport, ForgetReports

_LARGEST = 2**63 - 1
# The first line of an exported file.
_HEADERS = {"customer_id", "id"}


def command(
    customer: Annotated[
        list[int] | None,
        typer.Option(
            "--customer",
            min=1,
            max=_LARGEST,
            metavar="ID",
            help="The customer's number at Enerflo; repeatable.",
        ),
    ] = None,
    customers_file: Annotated[
        Path | None,
        typer.Option("--customers-file", metavar="F", help="A file with one such number on each line."),
    ] = None,
    account: Account = "default",
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase; without it, only show what would be erased.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Erase the personal data of customers, wherever this project keeps it.

    Names, e-mail, phone, addresses and bodies of notes: in the mirror, raw versions, webhook events, archived
    files, ledger, plans, differences, agreed values, quarantine and messages. Keys, statuses, dates and
    counts stay, and the ledger still says what was decided. A receipt without personal data stays in
    sync.forgotten.

    Nothing brings the data back: while the receipt stands, a poll, a webhook, a replay or a rebuild stores
    the customer's records without it, and the mapped fields that hold it are neither compared nor planned.
    The CRM's own rows and Enerflo are not touched: erase there as well.

    Refused while a change of the customer's records waits in a plan or is on its way; of several customers,
    such ones are left out and named. A hundred customers share one look through the archive. If it is
    interrupted, run it again with the same customers.

    Exit code 1 when customers were left out, or an archive that webhooks went to before could not be read:
    erase there by hand.
    """
    customers = [*(customer or ()), *(_of_file(customers_file) if customers_file else ())]
    if not customers:
        raise ConfigurationError(
            "nothing says which customers.",
            where="enerflo-sync forget",
            next_step="Add --customer ID or --customers-file F.",
        )
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        found = run_forget_customers(context, customers, by=who(by), write=yes, progress=tick)
    if as_json:
        print_json(_as_dict(found))
    else:
        for line in _lines_of_all(found):
            console.print(Text(line), soft_wrap=True)
    waits = found.left_out or any(report.not_read for report in found.customers)
    finish(Exit.NEEDS_A_PERSON if waits else Exit.DONE)


def _of_file(path: Path) -> list[int]:
    """Return the customers' numbers in a file, checked before anything is erased."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the file cannot be read ({type(error).__name__}).",
            where=str(path),
            next_step="Give a text file with one customer's number on each line.",
        ) from None
    found: list[int] = []
    for at, line in enumerate(lines, start=1):
        word = line.strip()
        if word.isascii() and word.isdigit() and len(word) < 20 and 0 < int(word) <= _LARGEST:
            found.append(int(word))
        elif word and not (at == 1 and word.lower() in _HEADERS):
            raise ConfigurationError(
                "the line is no customer's number.",
                where=f"{path}:{at}",
                next_step="Correct it, one whole number on each line. Nothing was erased.",
            )
    return found


def _as_dict(found: ForgetReports) -> dict[str, Any]:
    reports = [{**msgspec.to_builtins(one), "erased": one.erased} for one in found.customers]
    # One customer's report has the form that it had before several could be named.
    if len(reports) == 1 and not found.left_out:
        return reports[0]
    return {"customers": reports, "left_out": {str(one): why for one, why in found.left_out.items()}}


def _lines_of_all(found: ForgetReports) -> Iterator[str]:
    reports = found.customers
    if len(reports) == 1:
        yield from _lines(reports[0])
    for report in reports if len(reports) > 1 else ():
        rows = _rows_and_files(report)
        shared = f"; shared with others, left: {', '.join(report.shared)}" if report.shared else ""
        installs = count_of(len(report.installs), "install")
        yield f"{report.customer_id}: {installs}, {rows}{shared}"
    if len(reports) > 1:
        verb = "Erased" if reports[0].erased else "Would erase"
        yield f"{verb} personal data of {len(reports):,} customers."
        yield from _ends(reports)
    for customer, why in found.left_out.items():
        yield f"Left out, customer {customer}: {why}"


def _lines(report: ForgetReport) -> Iterator[str]:
    verb = "Erased" if report.erased else "Would erase"
    installs = count_of(len(report.installs), "install")
    whose = f"customer {report.customer_id} with {installs}"
    yield f"{verb} personal data of {whose} in {_rows_and_files(report)}."
    for name, rows in report.counts.items():
        yield f"  {name:<32} {number(rows):>8}"
    if report.shared:
        left = "was left" if report.erased else "would be left"
        yield f"Other customers have {', '.join(report.shared)} too: a document that only this names {left}."
    yield from _ends([report])


def _rows_and_files(report: ForgetReport) -> str:
    total = sum(report.counts.values())
    return "1 row or file" if total == 1 else f"{number(total)} rows and files"


def _ends(reports: Sequence[ForgetReport]) -> Iterator[str]:
    for place in sorted({place for report in reports for place in report.not_read}):
        yield f"The former archive {place} could not be read: what it holds of them is still there."
    for place in sorted({place for report in reports for place in report.not_there}):
        yield f"The former archive {place} has no file here: where it lies elsewhere, erase there as well."
    runs = ", ".join(dict.fromkeys(report.run_id for report in reports if report.run_id))
    if runs:
        receipts = "The receipt is" if len(reports) == 1 else "The receipts are"
        yield f"{receipts} in sync.forgotten, run {runs}. The CRM's own rows were not touched."
    else:
        yield "Nothing was erased: add --yes to erase it. It cannot be undone."
