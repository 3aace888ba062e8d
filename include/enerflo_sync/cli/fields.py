"""``enerflo-sync fields``: the fields that Enerflo really sends, and how they are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.text import Text

from enerflo_sync.catalogue.report import FieldCatalogue, FieldEntry, yaml_line
from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.fields import run_fields
from enerflo_sync.reconcile.render.wording import utc, visible
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import STORED

if TYPE_CHECKING:

    class Stored(StrEnum):
        """A key of :data:`enerflo_sync.resources.registry.STORED`."""
else:
    Stored = StrEnum("Stored", {name.upper(): name for name in STORED})
    Stored.__doc__ = "The tables whose records have every content stored."


_USUAL = Stored(INSTALLS.name)


def command(
    table: Annotated[
        Stored, typer.Argument(help="Whose records; of other tables no raw copy is stored.")
    ] = _USUAL,
    account: Account = "default",
    every: Annotated[
        bool, typer.Option("--all", help="List paths that no current record fills, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every path that Enerflo sends: its types, how many records fill it, and where it is used.

    Reads the stored versions of records, without a request: a path is there since the first version that has
    a value at it. Examples show only a value's form: letters as a, digits as 9. Paths that appeared or
    vanished within a month are listed with the line for columns in sync.yaml that would declare them. Exit
    code 1 when the path or type of a declared column fits few records.
    """
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        catalogue = run_fields(context, table.value, progress=tick)
    if as_json:
        document = msgspec.to_builtins(catalogue)
        for entry, raw in zip(catalogue.fields, document["fields"], strict=True):
            raw["yaml"] = yaml_line(entry)
        print_json(document)
    else:
        for line in _lines(catalogue, every=every):
            console.print(Text(line), soft_wrap=True)
    finish(Exit.NEEDS_A_PERSON if catalogue.unfilled else Exit.DONE)


def _lines(catalogue: FieldCatalogue, *, every: bool) -> Iterator[str]:
    yield (
        f"{count_of(catalogue.records, 'current record')} of {catalogue.table},"
        f" {count_of(catalogue.versions, 'stored version')} of {catalogue.resource} read."
    )
    if catalogue.unreadable:
        yield f"{count_of(catalogue.unreadable, 'version')} could not be read and is not counted."
    shown = [entry for entry in catalogue.fields if entry.filled or every]
    if shown:
        width = min(52, max(len(entry.path) for entry in shown))
        yield f"  {'path':<{width}}  {'type':<15} filled  {'example':<24}  seen  ->  column that it fills"
        for entry in shown:
            yield _line(entry, catalogue.table, catalogue.records, width)
    hidden = len(catalogue.fields) - len(shown)
    if hidden:
        yield f"{count_of(hidden, 'path')} that no current record fills: --all lists them."
    by_path = {entry.path: entry for entry in catalogue.fields}
    for title, paths in (("Appeared", catalogue.appeared), ("Vanished", catalogue.vanished)):
        if paths:
            yield f"{title} since {utc(catalogue.since)}:"
        for path in paths:
            entry = by_path[path]
            until = f", until {utc(entry.last_seen_at)}" if entry.last_seen_at else ""
            line = None if entry.columns or title == "Vanished" else yaml_line(entry)
            hint = f"  ->  {line}" if line else ""
            yield f"  {visible(path)}{until}{hint}"
    for one in catalogue.unfilled:
        yield (
            f"The declared column {one.column} has {visible(one.found)}; expected {one.expected}."
            f" {visible(one.next_step)}"
        )


def _line(entry: FieldEntry, table: str, records: int, width: int) -> str:
    types = ", ".join(sorted(set(entry.types) - {"nothing"})) or "nothing"
    share = f"{entry.filled / records:.0%}" if records else "-"
    made = ", ".join(entry.mapped_to or [f"enerflo.{table}.{name}" for name in entry.columns])
    arrow = f"  ->  {made}" if made else ""
    example = visible(entry.example or "")
    seen = f"since {entry.first_seen_at:%Y-%m-%d}" if entry.first_seen_at else ""
    if entry.last_seen_at:
        seen += f" until {entry.last_seen_at:%Y-%m-%d}"
    return f"  {visible(entry.path):<{width}}  {types:<15} {share:>5}  {example:<24}  {seen}{arrow}".rstrip()
