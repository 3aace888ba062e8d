"""The command ``enerflo-sync``: its sub-commands, and what every one of them does with an error."""

from __future__ import annotations

import logging
import os
import sys

import typer

from enerflo_sync.cli import (
    apply,
    backfill,
    doctor,
    explain,
    gaps,
    ingest,
    migrate,
    notify,
    plan,
    poll,
    quality,
    quarantine,
    rebuild,
    receiver,
    reconcile,
    retry,
    undo,
    what_if,
    witnesses,
)
from enerflo_sync.cli.output import Exit, errors, print_error
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.sandbox.cli import app as sandbox_app

DEBUG_VARIABLE = "ENERFLO_SYNC_DEBUG"

app = typer.Typer(
    name="enerflo-sync",
    help="Keep an Enerflo account and its CRM warehouse tables in agreement, both ways, and prove it.\n\n"
    "First steps: set ENERFLO_API_KEY and WAREHOUSE_URL, then run migrate, doctor, poll and reconcile. "
    "Nothing of yours is written: a fresh configuration is in report mode.\n\n"
    "Exit codes: 0 done; 1 done, and something waits for a person; 2 could not do it, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("migrate")(migrate.command)
app.command("doctor")(doctor.command)
app.command("poll")(poll.command)
app.command("ingest")(ingest.command)
app.command("reconcile")(reconcile.command)
app.command("plan")(plan.command)
app.command("apply")(apply.command)
app.command("explain")(explain.command)
app.command("retry")(retry.command)
app.command("undo")(undo.command)
app.command("what-if")(what_if.command)
app.command("backfill")(backfill.command)
app.command("quality")(quality.command)
app.command("notify")(notify.command)
app.command("rebuild")(rebuild.command)
app.command("gaps")(gaps.command)
app.command("witnesses")(witnesses.command)
app.add_typer(receiver.app, name="receiver", help="Take webhook posts and drop them to storage.")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(sandbox_app, name="sandbox", help="A simulated Enerflo company to try everything on.")


@app.callback()
def common(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what happens on standard error."),
) -> None:
    """Set up what all commands share."""
    level = logging.INFO if verbose else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s %(message)s")


@app.command("demo")
def demo(
    port: int = typer.Option(8080, help="Port of the Airflow UI."),
    installs: int = typer.Option(2_000, help="Size of the simulated company."),
    seed: int = typer.Option(7, help="Which company."),
    once: bool = typer.Option(False, "--once", help="Stop everything after the report is there."),
) -> None:
    """Run the main job for real: a simulated company, PostgreSQL, Airflow and its DAGs, then the report."""
    from enerflo_sync.cli.demo import run_demo

    run_demo(port=port, installs=installs, seed=seed, once=once)


def main() -> None:
    """Run the command line and exit with the code that says how it ended."""
    try:
        app()
    except EnerfloSyncError as error:
        print_error(error)
        raise SystemExit(Exit.FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        # The text of an unknown error may hold a row or an address: its type must do.
        if os.environ.get(DEBUG_VARIABLE):
            raise
        errors.print(
            f"enerflo-sync: an unexpected {type(error).__name__}; nothing was half-written."
            f" This is a defect: run it again with {DEBUG_VARIABLE}=1 and report what it prints."
        )
        raise SystemExit(Exit.FAILED) from None
