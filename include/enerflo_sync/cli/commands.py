"""The commands by name: the module that holds each, and its line in the help.

A module is imported when its command is run, or asked for help: no command waits for what another one needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a commented sync.yaml to begin with."),
    "migrate": ("migrate", "Bring the warehouse to this version's tables."),
    "doctor": ("doctor", "Check everything that a first run needs, and say what to change."),
    "poll": ("poll", "Read Enerflo and bring the mirror up to date."),
    "ingest": ("ingest", "Take in the webhook files of the drop."),
    "reconcile": ("reconcile", "Compare the mirror with the CRM's tables."),
    "plan": ("plan", "Decide about every difference; write nothing yet."),
    "apply": ("apply", "Make exactly the changes of a plan."),
    "reopen": ("reopen", "Let refused changes be planned again."),
    "explain": ("explain", "Tell why a record's fields have their values."),
    "retry": ("retry", "Have the next plan try parked changes again."),
    "undo": ("undo", "Make the plan that takes an applied plan back."),
    "what-if": ("what_if", "Show what another mapping would do."),
    "backfill": ("backfill", "Read a window of dates, named installs, or everything."),
    "quality": ("quality", "Check the change orders that are new or changed."),
    "notify": ("notify", "Show what would be told on the routes of sync.yaml."),
    "rebuild": ("rebuild", "Derive the mirror again from what is stored."),
    "gaps": ("gaps", "Show the stretches of time that were not seen whole."),
    "witnesses": ("witnesses", "Show which changes poll and webhooks saw."),
    "demo": ("demo.command", "Run the main job for real, with a simulated company."),
    "receiver": ("receiver", "Take webhook posts and drop them to storage."),
    "quarantine": ("quarantine", "List, replay and dismiss what could not be used."),
    "budget": ("budget", "See how many requests are left; open a blocked budget."),
    "sandbox": ("sandbox", "Serve a simulated Enerflo company to try everything on."),
}


class Commands(TyperGroup):
    """The group of all commands; see the module. The types of its arguments are private to typer."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one command; ``None`` where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"enerflo_sync.cli.{COMMANDS[cmd_name][0]}")
        if hasattr(module, "app"):
            group = get_group(module.app)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(cmd_name)(module.command)
        return get_command(alone)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and their lines, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])
