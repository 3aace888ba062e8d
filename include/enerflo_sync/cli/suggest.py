"""``enerflo-sync suggest``: write lines of sync.yaml that settle differences into a copy of the file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import count_of
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.suggest import Suggestions, run_suggest

_BY_HAND = "write it yourself: the option contains a variable, or YAML shares it with others"


def command(
    account: Account = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The copy; by default sync.suggested.yaml beside the file."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write lines that settle differences of mere spelling into a copy of sync.yaml.

    The rows of both sides that match are looked at, as the doctor does: how keys would meet, and which values
    differ only in how they are written. Each option was tried on these rows: one that would hide another
    difference is not suggested. Only the copy is written, and an existing file is never replaced; what-if
    shows what the copy changes. Exit code 0, whatever is suggested.
    """
    found = run_suggest(open_account(account, os.environ), out, os.environ)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for line in _lines(found):
            console.print(line, markup=False, soft_wrap=True)
    finish(Exit.DONE)


def _lines(found: Suggestions) -> Iterator[str]:
    for one in found.lines:
        yield f"{one.file}:{one.line}: {one.what}: {one.found}."
        yield f"    {one.write}" + ("" if one.written else f"  ({_BY_HAND})")
        yield from (f"    {choice}" for choice in one.choices)
    if any(one.of_every_account for one in found.lines):
        yield f"These lines count for every account; only the rows of {found.account} were looked at."
    for table, why in found.not_looked_at.items():
        yield f"{table}: {why}"
    if not found.lines:
        yield "No line was found that settles a difference of the rows that were looked at."
    for file, copy in found.copies.items():
        changed = sum(one.written and one.file == file for one in found.lines)
        yield f"Wrote {copy}: {file} with {count_of(changed, 'line')} changed."
        if copy != found.what_if:
            yield f"    To try it, put it in the place of {Path(file).name} in a copy of the folder."
    if found.what_if is not None:
        yield f"See what it changes: enerflo-sync what-if {shlex.quote(found.what_if)}"
