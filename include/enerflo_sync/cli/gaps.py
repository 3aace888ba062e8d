"""``enerflo-sync gaps``: periods that were not observed completely, and what closes each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.counted import number
from enerflo_sync.gaps.find import DAYS
from enerflo_sync.gaps.report import GapReport, Hole
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.gaps import read_gaps
from enerflo_sync.reconcile.render.lines import Line, grid, wrapped
from enerflo_sync.reconcile.render.wording import duration, utc, visible


def command(
    account: Account = "default",
    everything: Annotated[
        bool, typer.Option("--all", help="Also list periods that were closed since, of the last --days days.")
    ] = False,
    days: Annotated[
        int, typer.Option("--days", min=1, max=90, help="How far back closed periods are listed.")
    ] = DAYS,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            min=1,
            metavar="MINUTES",
            help="Minutes after which a poll is due again; default: accounts.schedule in sync.yaml.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the periods that were not observed completely: since when, what, the evidence, what closes it.

    records: lists were not read completely when a poll was due. note_edits: edited and deleted notes were not
    read. webhooks: changes that polls saw without a webhook. unconfirmed: changes with a webhook that no poll
    finds. unread: events arrived and their records were not read, because they wait or are in quarantine.
    drop: the drop was not read.

    A poll reads all lists completely and so closes most of them; a backfill reads again what was created in a
    period. Reads only the warehouse. Exit code 1 when a period is open.
    """
    report = read_gaps(open_account(account, os.environ), every=every, days=days)
    holes = [hole for hole in report.holes if everything or hole.is_open]
    if as_json:
        document = msgspec.to_builtins(msgspec.structs.replace(report, holes=holes))
        print_json({"sentence": report.sentence, "open": report.open, **document})
    else:
        for line in _lines(report, holes):
            console.print(Text(line.text.rstrip(), style=line.style), soft_wrap=True)
    finish(Exit.NEEDS_A_PERSON if report.open else Exit.DONE)


def _lines(report: GapReport, holes: list[Hole]) -> Iterator[Line]:
    yield Line(report.sentence, "bold" if report.open else "")
    if report.silence:
        yield from wrapped(f"{report.silence} Check the sender and the receiver.")
    if not holes:
        return
    yield Line("")
    rows = [_row(report, hole) for hole in holes]
    yield from grid(["kind", "from", "to", "for", "state", "not seen"], rows, text_columns=6)
    for hole in holes:
        yield Line("")
        yield from _told(hole)


def _row(report: GapReport, hole: Hole) -> list[str]:
    end = utc(hole.end) if hole.end else "now"
    span = duration((hole.end or report.as_of) - hole.start)
    not_seen = ", ".join(
        visible(name if count is None else f"{name}: {number(count)}")
        for name, count in hole.not_seen.items()
    )
    return [hole.kind, utc(hole.start), end, span, "open" if hole.is_open else "closed", not_seen]


def _told(hole: Hole) -> Iterator[Line]:
    yield from wrapped(
        f"{hole.kind}, {utc(hole.start)}: {hole.why}", indent=2, style="bold" if hole.is_open else ""
    )
    evidence = hole.evidence
    for name, ids in (("runs", evidence.runs), ("events", evidence.events), ("records", evidence.records)):
        if ids:
            yield from wrapped(f"{name}: {visible(', '.join(ids))}", indent=4)
    if evidence.watermarks:
        marks = ", ".join(f"{name} {utc(value)}" for name, value in evidence.watermarks.items())
        yield from wrapped(f"read whole until: {marks}", indent=4)
    if hole.remark:
        yield from wrapped(hole.remark, indent=4)
    if hole.is_open:
        yield Line(f"    closes it:  {hole.closes}")
        if hole.backfill:
            yield Line(f"    reads again what was created then:  {hole.backfill}")
    elif hole.closed_at is not None:
        yield from wrapped(f"closed by {hole.closed_by or 'a later look'}, {utc(hole.closed_at)}", indent=4)
