"""``enerflo-sync poll``: load into the mirror what Enerflo lists now."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.groups import Group, finish_each
from enerflo_sync.cli.output import Account, Exit, Json, print_json, say
from enerflo_sync.counted import count_of
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.process import moving_records
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.runs import RunReport


def command(
    account: Account = "default",
    group: Group = None,
    resource: Annotated[
        list[PollResource] | None,
        typer.Option("--resource", help="Read only this resource; repeatable."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="Read all notes again, not only new ones: finds edits and deletions."),
    ] = False,
    accept_shrink: Annotated[
        bool,
        typer.Option(
            "--accept-shrink", help="Accept, this once, that far fewer records are left than before."
        ),
    ] = False,
    accept_company: Annotated[
        bool,
        typer.Option(
            "--accept-company",
            help="Accept, this once, that the account's key belongs to another company now.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read Enerflo and write changed records into the mirror tables (schema enerflo).

    Unchanged records are neither parsed nor written. A poll that was killed is completed by the next one.
    Exit code 1 when records were quarantined, or a part was not read.
    """

    def poll(context: AccountContext) -> Exit:
        with moving_records(), progress_bars() as tick:
            report = run_poll(
                context,
                resources=frozenset(resource) if resource else None,
                full=full,
                accept_shrink=accept_shrink,
                accept_company=accept_company,
                progress=tick,
            )
        if as_json:
            print_json(msgspec.to_builtins(report))
        else:
            # Of some lists a poll asks for the new records alone, and there may well be none.
            new_only = {one.name for one in ALL if one.swept is not None}
            print_run(report, NOTHING_NEW if report.resources.keys() <= new_only else NOTHING_LISTED)
        return Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE

    finish_each(account, group, poll, as_json=as_json)


NOTHING_LISTED = "Enerflo listed no record at all: an empty account, or a key without rights."
NOTHING_NEW = "Enerflo listed no new record."


def print_run(report: RunReport, nothing: str = NOTHING_LISTED) -> None:
    """Print a run's result, and its notices for a person.

    :param nothing: text for a run without any input.
    """
    say(str(report.state), title=report.run_id)
    width = max([len(name) for name in report.resources] + [5])
    rows = [*report.resources.items(), ("all", msgspec.to_builtins(report))]
    for name, counts in rows:
        say(
            f"  {name:<{width}}  read {counts['read']:>9,}  applied {counts['applied']:>8,}"
            f"  unchanged {counts['unchanged']:>9,}  quarantined {counts['quarantined']:>5,}"
            f"  skipped {counts['skipped']:>5,}"
        )
    say(f"  {count_of(report.requests, 'request')}")
    for group, title in (("incomplete", "Not read whole"), ("quarantined", "Quarantined")):
        for reason, count in sorted(report.reasons.get(group, {}).items()):
            say(f"  {title}: {reason}" + ("" if group == "incomplete" else f" ({count:,})"))
    if report.reasons.get("quarantined"):
        say("  What to do about each: enerflo-sync quarantine list")
    for name, counts in report.resources.items():
        for reason, count in sorted(counts["reasons"].get("notice", {}).items()):
            say(f"  Noticed, {name}: {reason} ({count:,})")
    if not report.read and "incomplete" not in report.reasons:
        say(f"  {nothing}")
