"""The command ``enerflo-sync``: its sub-commands, and their common handling of errors."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import typer

from enerflo_sync.cli.commands import Commands
from enerflo_sync.cli.output import DEBUG_VARIABLE, Exit, ShowingFormatter, errors, print_error, unexpected
from enerflo_sync.errors import EnerfloSyncError

app = typer.Typer(
    name="enerflo-sync",
    cls=Commands,
    help="Keep an Enerflo account and its CRM warehouse tables in agreement, both ways, and prove it.\n\n"
    "First steps: set ENERFLO_API_KEY and WAREHOUSE_URL, then run migrate, doctor, poll and reconcile. "
    "Nothing of yours is written: a fresh configuration is in report mode.\n\n"
    "Exit codes: 0 done; 1 done, and something waits for a person; 2 could not do it, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"enerflo-sync {version('enerflo-sync')}")
        raise typer.Exit


@app.callback()
def common(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what happens on standard error."),
    _version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
) -> None:
    """Set up logging for all commands."""
    level = logging.INFO if verbose else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShowingFormatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    # The warning that this program is older than the warehouse's tables is printed without --verbose, too.
    logging.getLogger("enerflo_sync.warehouse.revision").setLevel(min(level, logging.WARNING))


def run() -> None:
    """Run the command line and exit with the code of its outcome.

    Variables missing from the environment are read from a file ``.env`` in the working folder.
    """
    if Path(".env").exists():
        from dotenv import load_dotenv

        load_dotenv(".env")
    try:
        app()
    except EnerfloSyncError as error:
        print_error(error)
        raise SystemExit(Exit.FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        errors.print(unexpected(error))
        raise SystemExit(Exit.FAILED) from None
