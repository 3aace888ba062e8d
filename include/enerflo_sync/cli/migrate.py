"""``enerflo-sync migrate``: create or update the warehouse's tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.groups import Group, finish_each
from enerflo_sync.cli.output import Account, Exit, Json, console, print_json
from enerflo_sync.counted import count_of
from enerflo_sync.jobs.columns import ColumnsReport, run_columns
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.migrate import migrate
from enerflo_sync.warehouse.revision import LATEST_REVISION


def command(
    account: Account = "default",
    group: Group = None,
    drop_columns: Annotated[
        bool,
        typer.Option("--drop-columns", help="Drop columns of the mirror that sync.yaml declares no longer."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the warehouse to this version's tables. Safe to run at any time, and by two processes at once.

    Creates the schemas enerflo and sync; never touches the tables of your CRM. Columns that sync.yaml
    declares (columns) are added to the mirror's tables and filled from the stored versions of all known
    installs, without a request to Enerflo. If the command is killed meanwhile, run it again: it continues.

    With accounts in several warehouses, or with columns of their own, run it for each: --group NAME.

    Where a newer version of this program migrated the warehouse, nothing is migrated; exit code 2 if this
    version may not write its tables any more.
    """
    finish_each(
        account, group, partial(_migrated, drop_columns=drop_columns, as_json=as_json), as_json=as_json
    )


def _migrated(context: AccountContext, *, drop_columns: bool, as_json: bool) -> Exit:
    before, after = migrate(context.engine, building=_nothing if as_json else _say_building)
    with moving_records(), progress_bars() as tick:
        columns = run_columns(context, drop=drop_columns, progress=tick)
    if as_json:
        named = {"account": context.account, "before": before, "after": after, "changed": before != after}
        print_json({**named, "columns": asdict(columns)})
        return Exit.DONE
    if after != LATEST_REVISION:
        console.print(
            f"The warehouse is at revision {after}, made by a newer version of this program. This version"
            f" knows {LATEST_REVISION} and may still read and write its tables: nothing to migrate."
        )
    elif before == after:
        console.print(f"The warehouse is already at revision {after}.")
    else:
        console.print(f"The warehouse went from revision {before or 'none'} to {after}.")
    for line in _lines(columns):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return Exit.DONE


def _say_building(index: str) -> None:
    console.print(
        f"Building the index {index}. Jobs go on meanwhile; it waits for transactions that began before it."
        " If its column is new, its migration builds it instead.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _nothing(_index: str) -> None:
    """Say nothing: the output is JSON."""


def _lines(columns: ColumnsReport) -> Iterator[str]:
    if columns.added:
        yield f"Added to the mirror: {', '.join(columns.added)}."
    if columns.read_elsewhere:
        changed = ", ".join(columns.read_elsewhere)
        yield f"Read from another path, or to another length, from now on: {changed}."
    if columns.filled:
        written = " and ".join(f"{count_of(rows, 'row')} of {name}" for name, rows in columns.rows.items())
        yield (
            f"Filled from the stored versions: {', '.join(columns.filled)};"
            f" {written or 'no row had to be'} written."
        )
        few = {name: (values, rows) for name, (values, rows) in columns.values.items() if values * 2 < rows}
        for name, (values, rows) in few.items():
            yield f"{name} has a value in {values} of {count_of(rows, 'row')}."
        if few:
            yield "enerflo-sync doctor says whether path and type fit what the records have."
    if columns.next_poll:
        later = ", ".join(columns.next_poll)
        yield f"Filled by the next enerflo-sync poll, which reads their records again: {later}."
    if columns.kept:
        yield (
            f"Declared no longer, kept and still filled: {', '.join(columns.kept)};"
            " enerflo-sync migrate --drop-columns drops them."
        )
    if columns.dropped:
        yield f"Dropped: {', '.join(columns.dropped)}."
