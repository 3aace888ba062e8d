"""``enerflo-sync budget``: the state of an account's request budget, and a way to unblock it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import open_account
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.request_standing import Standing, reset, standing
from enerflo_sync.warehouse.revision import require_migrated

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See how many requests the account's key has left, and open a blocked budget.",
)


@contextmanager
def _warehouse(account: str) -> Iterator[sa.Connection]:
    engine = open_account(account, os.environ).engine
    require_migrated(engine)
    with warehouse_errors("the request budget"), engine.begin() as connection:
        yield connection


@app.command("show")
def show(account: Account = "default", as_json: Json = False) -> None:
    """Show each key's budget: the requests left, and until when it is blocked."""
    with _warehouse(account) as connection:
        found = standing(connection, account)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        lines = [_line(one) for one in found] or [f"No request was ever made for account {account}."]
        console.print("\n".join(lines), markup=False)
    finish(Exit.DONE)


@app.command("reset")
def reset_command(
    account: Account = "default",
    key: Annotated[
        str | None,
        typer.Option("--key", help="Only the key with this fingerprint; default: every key of the account."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Forget what Enerflo's answers said about the limit: the next request is sent at once.

    Our own count of the last minute stays, so the limit is still observed. If Enerflo answers 429 again, the
    budget is blocked again, for an hour at most.
    """
    with _warehouse(account) as connection:
        count = reset(connection, account, key)
    if not count:
        raise ConfigurationError(
            "no such budget is known.", where=f"account {account}", next_step="See enerflo-sync budget show."
        )
    if as_json:
        print_json({"account": account, "opened": count})
        finish(Exit.DONE)
    console.print(f"{count} budget{'s' if count != 1 else ''} of account {account} opened.", markup=False)
    finish(Exit.DONE)


def _line(one: Standing) -> str:
    left = "not said" if one.remaining is None else f"{one.remaining:,}"
    blocked = f"blocked for {one.blocked_seconds:,.0f} s" if one.blocked_seconds > 0 else "open"
    return (
        f"key {one.key_fingerprint}: {blocked}; limit {one.limit_per_window:,} a minute,"
        f" {one.used_in_last_minute:,} sent in the last minute, left by Enerflo's word: {left}"
    )
