"""``enerflo-sync rebuild``: derive the mirror again from stored data, without the API."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of, number
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.process import moving_records
from enerflo_sync.rebuild.report import RebuildReport, TableDifference
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.reconcile.render.wording import visible

_VALUE_WIDTH = 40


def command(
    account: Account = "default",
    table: Annotated[
        list[RebuildTable] | None,
        typer.Option("--table", help="Derive only this table; repeatable."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Only installs of the mirror that fit, and what belongs to them: columns of"
            " enerflo.installs, values and comparisons in SQL, as in"
            " \"status_name = 'Voided' and created_at < '2025-01-01'\"."
            " Nothing else is let through: no subquery, no function but lower, upper and now.",
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the differences; without it, only show them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Derive the mirror again from the raw versions of its records and the stored webhook events.

    For a damaged mirror, or after an update that reads records differently: the usual readers, without a
    request to Enerflo. Installs with their milestones, and appointments, come from each record's current
    version; submissions from their events; customers and change orders only if a payload contained them,
    since Enerflo's answers about them are not stored. Differences are shown with samples, personal data
    masked.

    With --apply they are written, in chunks: killed at any point, the same command continues. Polls may run
    meanwhile. Deletions stay deletions. Exit code 1 when a difference was not written, or when a stored
    record cannot be read any more.
    """
    context = open_account(account, os.environ)
    with moving_records(), progress_bars() as tick:
        report = run_rebuild(context, tables=table or (), where=where, write=apply, progress=tick)
    if as_json:
        print_json({**msgspec.to_builtins(report), "differing": report.differing})
    else:
        for line in _lines(report):
            console.print(Text(line), soft_wrap=True)
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)


def _lines(report: RebuildReport) -> Iterator[str]:
    if report.run_id is not None:
        yield f"{report.run_id} {report.state}"
    verb = "written" if report.written else "differ from what is stored"
    rows = sum(table.rows for table in report.tables)
    yield f"{count_of(rows, 'row')} derived again, {number(report.differing)} {verb}."
    for table in report.tables:
        if table.rows or table.gone:
            yield from _table(table)
    for unread in report.unreadable:
        yield (
            f"  Cannot be read, {unread.table_name}: {unread.reason} ({number(unread.records)}),"
            f" such as {', '.join(map(_key, unread.keys))}; left as they are"
        )
    for table_name, reasons in report.left.items():
        for reason, count in sorted(reasons.items()):
            yield f"  Left as they are, {table_name}: {number(count)}, {reason}"
    if report.differing and not report.written:
        yield "Nothing was written: add --apply to write it."


def _table(table: TableDifference) -> Iterator[str]:
    counts = f"new {number(table.new)}, changed {number(table.changed)}, gone {number(table.gone)}"
    yield f"  {table.table_name:<20} {number(table.rows):>10}  {counts}"
    for name, keys in table.keys.items():
        yield f"      {name}: {', '.join(map(_key, keys))}{' …' if len(keys) < getattr(table, name) else ''}"
    for field in table.fields:
        yield f"      {field.field} {number(field.rows)}"
        for sample in field.samples:
            yield f"        {_key(sample.key)}: {_short(sample.before)} -> {_short(sample.after)}"


def _key(key: Mapping[str, Any]) -> str:
    return " ".join(f"{name} {visible(str(value))}" for name, value in key.items())


def _short(value: object) -> str:
    if value is None:
        return "no value"
    text = visible(value if isinstance(value, str) else str(value))
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"
