"""A command for one account, or for every account of a group one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Annotated, NoReturn

import typer

from enerflo_sync.addresses import DEFAULT_ACCOUNT
from enerflo_sync.cli.output import (
    DEBUG_VARIABLE,
    Exit,
    console,
    errors,
    finish,
    print_error,
    print_json,
    unexpected,
)
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext, open_account
from enerflo_sync.shipped import find_config

Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="NAME",
        help="Every account of this group, one after the other, in place of one account. One that fails stops"
        " no other. The exit code is the gravest; --json prints a document for each account.",
    ),
]


def finish_each(
    account: str, group: str | None, work: Callable[[AccountContext], Exit], *, as_json: bool = False
) -> NoReturn:
    """Do a command's work for one account, or for each of a group, and end with the gravest exit code.

    :param work: prints the result of an account, and returns how it ended.
    :raises ConfigurationError: there is no such account or group, or both are named.
    """
    if group is None:
        finish(work(open_account(account, os.environ)))
    if account != DEFAULT_ACCOUNT:
        raise ConfigurationError(
            "an account and a group are named.", where="--group", next_step="Choose one of the two."
        )
    path = find_config(os.environ)
    config = load_config(path, os.environ)
    names, ended = config.accounts_of(group), list[Exit]()
    for name in names:
        if not as_json:
            console.print(f"[bold]account {name}[/]")
        ended.append(_isolated(name, partial(open_account, name, os.environ, path, config), work, as_json))
    failed = [name for name, code in zip(names, ended, strict=True) if code is Exit.FAILED]
    if failed:
        errors.print(f"{len(failed)} of {len(names)} accounts failed: {', '.join(failed)}", markup=False)
    finish(max(ended))


def require_one_account(group: str | None, option: str) -> None:
    """Refuse a group beside an option that is about one account.

    :param option: as the command line has it.
    :raises ConfigurationError: a group is named.
    """
    if group is not None:
        raise ConfigurationError(
            f"{option} is about one account, and a group is named.",
            where="--group",
            next_step=f"Take --account in place of it, or leave {option} away.",
        )


def _isolated(
    name: str, opens: Callable[[], AccountContext], work: Callable[[AccountContext], Exit], as_json: bool
) -> Exit:
    """Return the exit code of an account's work; print an error instead of raising it, so that others run."""
    try:
        with closing(opens()) as context:
            return work(context)
    except EnerfloSyncError as error:
        print_error(error)
        told = str(error)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        told = unexpected(error)
        errors.print(told)
    if as_json:
        print_json({"account": name, "error": told})
    return Exit.FAILED
