"""``enerflo-sync reopen``: list refused changes, and allow them to be planned again."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.quarantine import By, who
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.approval import read_refusals, run_reopen
from enerflo_sync.jobs.context import AccountContext, open_account
from enerflo_sync.plan.parts import record_name
from enerflo_sync.plan.render.shown_plan import masked_refusals
from enerflo_sync.plan.reopen import Refusal, WhichRefusals
from enerflo_sync.reconcile.record import RECORD_WORDS, table_of
from enerflo_sync.reconcile.render.wording import utc, visible


def command(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help=RECORD_WORDS)] = None,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="The CRM's key, its parts joined by /; or enerflo:ID."),
    ] = None,
    account: Account = "default",
    field: Annotated[str | None, typer.Option("--field", metavar="F", help="Only this CRM column.")] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="PLAN_HASH", help="All refused changes of this plan.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All refused changes.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Allow refused changes to be planned again, and show them; without arguments, list all refusals.

    Writes nothing on either side: the next plan contains the changes that are still due. Personal data is
    masked. Exit code 2 when no refusal matches.
    """
    context = open_account(account, os.environ)
    which = _which(context, table, key, field, plan)
    if which == WhichRefusals() and not everything:
        _show(context, read_refusals(context), opened=False, as_json=as_json)
        finish(Exit.DONE)
    if which != WhichRefusals() and everything:
        raise ConfigurationError("all, and a part of it.", where="--all", next_step="Give one of them.")
    if everything and not read_refusals(context):
        _show(context, [], opened=True, as_json=as_json)
        finish(Exit.DONE)
    _show(context, run_reopen(context, which, by=who(by)), opened=True, as_json=as_json)
    finish(Exit.DONE)


def _which(
    context: AccountContext, table: str | None, key: str | None, field: str | None, plan: str | None
) -> WhichRefusals:
    if key is None and field is not None:
        raise ConfigurationError(
            "a field of which record?", where="--field", next_step="Give TABLE and KEY as well."
        )
    tables = context.config.tables_for(context.account)
    name = None if table is None else table_of(table, tables)
    return WhichRefusals(table=name, key=key, field=field, plan_hash=plan)


def _show(context: AccountContext, found: list[Refusal], *, opened: bool, as_json: bool) -> None:
    tables = context.config.tables_for(context.account)
    masked = masked_refusals(found, tables)
    if as_json:
        print_json({"reopened" if opened else "refused": [_document(one) for one in masked]})
        return
    if not masked:
        console.print("Nothing stands refused.")
        return
    does = "may be planned again" if opened else "refused, and in no plan while the values stay the same"
    console.print(f"{count_of(len(masked), 'change')} {does}:")
    for one in masked:
        columns = tables[one.table_name].key_columns if one.table_name in tables else ()
        field = f" --field {one.field}" if one.field else ""
        name = f"{one.table_name} {record_name(one.key, columns)}{field}"
        reason = f": {one.reason}" if one.reason else ""
        console.print(
            f"  {visible(name)}  {_what(one)}; refused by {visible(one.decided_by)}"
            f" on {utc(one.decided_at)}{visible(reason)} (plan {one.plan_hash[:12]})",
            markup=False,
        )
    if not opened:
        console.print("\nOpen one again with: enerflo-sync reopen TABLE KEY [--field F]", markup=False)


def _what(one: Refusal) -> str:
    side = "in the CRM" if one.direction == "to_crm" else "at Enerflo"
    if one.op != "update":
        return f"{'create' if one.op == 'insert' else 'delete'} the row {side}"
    return f"{_shown(one.before)} to {_shown(one.after)} {side}"


def _shown(value: Any) -> str:
    return "no value" if value is None else visible(str(value))[:40]


def _document(one: Refusal) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(one)
    return document
