"""``enerflo-sync ledger``: whether the ledger is as the jobs wrote it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from enerflo_sync.agreed.seal_check import LedgerCheck, UnknownSeal
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of, number
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.ledger import run_ledger_check

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check that the ledger of all decisions is as the jobs wrote it.",
)


_RUNBOOK = "docs/runbook.md#the-ledger-is-not-as-it-was-sealed"


@app.command("verify")
def verify(
    account: Account = "default",
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect",
            metavar="DIGEST",
            help="A seal's digest that was noted before, from this command or a job's log: it must be in the"
            " chain still.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the whole ledger, and say whether a row was changed, removed, inserted or reordered by hand.

    Jobs seal the ledger after their work: digests of its rows, each seal chained to the one before. Exit code
    1 if a place is broken, or if there are rows and no seal; the first places are named by their ledger_id.
    Someone who may write the ledger and its seals can seal again what they changed: --expect finds that, with
    a digest that was noted elsewhere.
    """
    found = run_ledger_check(open_account(account, os.environ), expected=expect)
    is_proven = found.intact and not found.unknown
    if as_json:
        print_json({**msgspec.to_builtins(found), "intact": is_proven})
    else:
        for line in _lines(found):
            console.print(line, markup=False)
        if not is_proven:
            console.print(_next_step(found, expect), markup=False)
    finish(Exit.DONE if is_proven else Exit.NEEDS_A_PERSON)


def _next_step(found: LedgerCheck, expected: str | None) -> str:
    # Whatever else is broken, a digest of another account says nothing of this one.
    unknown = next((place for place in found.places if isinstance(place, UnknownSeal)), None)
    if unknown is not None and unknown.accounts:
        other = f"enerflo-sync ledger verify --account {unknown.accounts[0]} --expect {expected}"
        return f"Next: check the account that it is of: {other}"
    if unknown is not None:
        return (
            "Next: compare the digest, and its account, with the log line that it is from (ledger_sealed)."
            f" If they are right, seals were taken away, or an earlier warehouse was put back: {_RUNBOOK}"
        )
    return f"Next: {_RUNBOOK}"


def _lines(found: LedgerCheck) -> Iterator[str]:
    if found.unknown and not found.broken:
        yield f"Account {found.account}: the ledger has rows and no seal: nothing could be checked."
    elif not found.seals and not found.broken:
        yield f"Account {found.account}: no row of the ledger is sealed yet."
    elif found.intact:
        yield (
            f"Account {found.account}: {count_of(found.rows, 'row')} under {count_of(found.seals, 'seal')},"
            f" all as they were sealed{' or rewritten by enerflo-sync itself' if found.rewritten else ''}."
        )
    else:
        yield f"Account {found.account}: {count_of(found.broken, 'place')} broken, the first:"
        for place in found.places:
            yield f"  {place.text}"
        if found.broken > len(found.places):
            yield f"  and {number(found.broken - len(found.places))} more"
    if found.rewritten:
        rewritten = count_of(found.rewritten, "row")
        yield f"{rewritten} rewritten or removed by a command of enerflo-sync later (sync.ledger_seals)."
    if found.unsealed:
        since = "written since the last seal" if found.seals else "without a seal"
        yield f"{count_of(found.unsealed, 'row')} {since}: not covered."
    if found.head and found.sealed_at:
        yield f"Head: {found.head} of {found.sealed_at:%Y-%m-%d %H:%M} UTC."
