"""``enerflo-sync explain``: why one record, or one of its fields, has its value."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.cli.quarantine import By, who
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.text import record_sentences, render_explanation, story_sentences
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.reconcile.record import RECORD_WORDS

_TIME = "2026-03-02T14:05:00Z"


def command(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=RECORD_WORDS)],
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="The CRM's key, its parts joined by / (milestone 4400003/12); or enerflo:ID; or an install's"
            " deal uuid.",
        ),
    ],
    account: Account = "default",
    field: Annotated[
        str | None,
        typer.Option("--field", metavar="F", help="Only this CRM column; all mapped ones if absent."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help=f"As known at that time, as in {_TIME}; UTC if it has no zone."
        ),
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also show personal data; sync.reveals records who did.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Explain a record's values: who sent what, when, by which evidence, and what decided.

    Per field: both sides' values, since when they agree, every decision in time order with its rule, run,
    plan and approver, and what waits. Reads only the warehouse. Personal data is masked.
    """
    context = open_account(account, os.environ)
    found = run_explain(
        context, table, key, field=field, as_of=_moment(as_of), reveal=reveal, by=who(by) if reveal else ""
    )
    if as_json:
        sentences = {story.field: story_sentences(story) for story in found.fields}
        told = {"record": record_sentences(found), "fields": sentences}
        print_json({**msgspec.to_builtins(found), "sentences": told})
    else:
        console.print(render_explanation(found), markup=False, end="")
    finish(Exit.DONE)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigurationError(
            f"{text[:40]!r} is no time.", where="--as-of", next_step=f"Write it as {_TIME}."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
