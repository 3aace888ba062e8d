"""``enerflo-sync quarantine``: unusable input, the reasons, and a person's decisions about it."""

from __future__ import annotations

import getpass
import json
import os
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from enerflo_sync.cli.bars import progress_bars
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.inbox.quarantine import Filter, QuarantineGroup
from enerflo_sync.inbox.quarantine_items import ItemKind, ItemState, QuarantineItem
from enerflo_sync.inbox.replay_report import ReplayReport
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.quality import run_release
from enerflo_sync.jobs.quarantine import read_groups, read_item, read_items, run_dismiss, run_replay

_EXAMPLE_CHARACTERS = 300


class StateChoice(StrEnum):
    """Which states of items to list."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"
    ALL = "all"


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or their beginnings.")]
Fingerprint = Annotated[
    str | None, typer.Option("--fingerprint", metavar="F", help="All open items of one group.")
]
Everything = Annotated[bool, typer.Option("--all", help="All open items.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides; the user of this machine if absent.")
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Unusable input: list it, show, replay or dismiss an item, or release a held change order.",
)


@app.command("list")
def list_command(
    account: Account = "default",
    kind: Annotated[ItemKind | None, typer.Option("--kind", help="Only items of this kind.")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="WORDS", help="Only reasons that contain these words.")
    ] = None,
    state: Annotated[StateChoice, typer.Option("--state", help="Only items in this state.")] = (
        StateChoice.OPEN
    ),
    items: Annotated[bool, typer.Option("--items", help="One line per item, not per group.")] = False,
    as_json: Json = False,
) -> None:
    """List what is in quarantine, grouped by fault, with an example and the next step.

    Personal data is masked. Exit code 1 when open items match --kind and --reason, where given.
    """
    context = open_account(account, os.environ)
    wanted = Filter(kind, reason, None if state is StateChoice.ALL else ItemState(state.value))
    is_open = bool(read_items(context, Filter(kind, reason)))
    found: list[QuarantineItem] | list[QuarantineGroup]
    found = read_items(context, wanted) if items else read_groups(context, wanted)
    if as_json:
        print_json({"account": account, "items" if items else "groups": msgspec.to_builtins(found)})
    else:
        for one in found:
            _print_item(one) if isinstance(one, QuarantineItem) else _print_group(one)
        if not found:
            console.print("Nothing is there." if state is StateChoice.ALL else f"Nothing is {state}.")
    finish(Exit.NEEDS_A_PERSON if is_open else Exit.DONE)


@app.command("show")
def show_command(
    item: Annotated[str, typer.Argument(metavar="ID", help="An item's id, or its beginning.")],
    account: Account = "default",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also show personal data; sync.reveals records who did.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Show everything about one item: what, when, from where, and its content with personal data masked.

    Exit code 1 while the item is open.
    """
    context = open_account(account, os.environ)
    detail = read_item(context, item, reveal=reveal, by=who(by))
    if as_json:
        print_json({"account": account, **msgspec.to_builtins(detail)})
    else:
        for name, value in msgspec.to_builtins(detail.item, builtin_types=(datetime,)).items():
            if value is not None:
                console.print(f"  {name:<16} {escape(_plain(value))}")
        console.print(f"  next step        {escape(detail.next_step)}")
        console.print(f"  payload{'' if reveal else ', masked'}:")
        console.print(escape(_json(detail.payload, indent=2)))
    finish(Exit.NEEDS_A_PERSON if detail.item.state == ItemState.OPEN else Exit.DONE)


@app.command("replay")
def replay_command(
    items: Ids = None,
    account: Account = "default",
    fingerprint: Fingerprint = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="NAME", help="All open items of events of this name.")
    ] = None,
    everything: Everything = False,
    go: Annotated[
        bool, typer.Option("--go", help="Replay; without it, only show what would be done.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Retry items by the path of all other input; dry unless --go is given.

    A file is read again from the archive, an event is identified again and its record read, a record is read
    again. An item is closed only after its content is stored. Exit code 1 while an item still waits.
    """
    context = open_account(account, os.environ)
    with progress_bars() as tick:
        report = run_replay(
            context,
            items=items or (),
            fingerprint=fingerprint,
            event=event,
            everything=everything,
            dry=not go,
            by=who(by),
            progress=tick,
        )
    if as_json:
        print_json({**msgspec.to_builtins(report), "counts": report.counts})
    else:
        _print_report(report)
    finish(Exit.NEEDS_A_PERSON if report.needs_a_person else Exit.DONE)


@app.command("dismiss")
def dismiss_command(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why no action is needed.")],
    items: Ids = None,
    account: Account = "default",
    fingerprint: Fingerprint = None,
    everything: Everything = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Close open items that need no action; the reason and the name are stored with them.

    The same content with the same fault stays closed when it comes again.
    """
    context = open_account(account, os.environ)
    count = run_dismiss(
        context, items=items or (), fingerprint=fingerprint, everything=everything, reason=reason, by=who(by)
    )
    if as_json:
        print_json({"account": account, "dismissed": count})
    else:
        console.print(f"{count:,} dismissed.")
    finish(Exit.DONE)


@app.command("release")
def release_command(
    items: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or their beginnings.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is right as it is.")],
    account: Account = "default",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Release change orders that a check holds back; the next plan includes them.

    The reason and the name are stored with the item and in the ledger. An order that changes afterwards, or
    fails differently, is held again.
    """
    context = open_account(account, os.environ)
    count = run_release(context, items, reason=reason, by=who(by))
    if as_json:
        print_json({"account": account, "released": count})
    else:
        console.print(f"{count:,} let through; the next plan takes them up.")
    finish(Exit.DONE)


def who(by: str | None) -> str:
    """Return the name stored with a decision: the given one, or that of the operating system's user."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a uid without a name.
        return f"uid {os.getuid()}"


def _print_group(group: QuarantineGroup) -> None:
    times = "once" if group.count == 1 else f"{group.count:,} times"
    console.print(
        f"[bold]{group.items:,} x {group.kind}[/] {escape(group.reason)}"
        f"  (seen {times}, {_when(group.first_seen_at)} to {_when(group.last_seen_at)})"
    )
    example = _json(group.example)
    if len(example) > _EXAMPLE_CHARACTERS:
        example = f"{example[:_EXAMPLE_CHARACTERS]}…"
    console.print(f"  fingerprint {group.fingerprint}, newest {group.example_id}")
    console.print(f"  {escape(example)}")
    console.print(f"  {escape(group.next_step)}")


def _print_item(item: QuarantineItem) -> None:
    console.print(
        f"{item.item_id}  {item.state:<9}  {item.kind:<6}  {_when(item.last_seen_at)}  {item.count:>5,} x"
        f"  {escape(item.reason)}  {escape(_plain(item.key or item.evidence_uri or ''))}"
    )


def _print_report(report: ReplayReport) -> None:
    if report.run_id is not None:
        console.print(f"[bold]{report.run_id}[/]")
    for result in report.results:
        console.print(
            f"  {result.item_id}  {result.kind:<6}  {result.outcome:<14}  {escape(result.reason)}:"
            f" {escape(result.detail)}"
        )
    console.print("  " + ", ".join(f"{name} {count:,}" for name, count in report.counts.items()))
    if report.dry:
        console.print("  Nothing was done: add --go to do it.")


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return value if isinstance(value, str) else _json(value)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)
