"""The commands by name: each one's module, and its line in the help.

A module is imported only when its command runs or shows its help, so no command waits for others' imports.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from enerflo_sync.extras import needs_extra

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("enerflo_sync.cli.init", "Write a commented sync.yaml to begin with."),
    "migrate": ("enerflo_sync.cli.migrate", "Bring the warehouse to this version's tables."),
    "doctor": ("enerflo_sync.cli.doctor", "Check all that a first run needs, and say what to change."),
    "poll": ("enerflo_sync.cli.poll", "Read Enerflo and bring the mirror up to date."),
    "ingest": ("enerflo_sync.cli.ingest", "Load the webhook files of the drop."),
    "reconcile": ("enerflo_sync.cli.reconcile", "Compare the mirror with the CRM's tables."),
    "suggest": ("enerflo_sync.cli.suggest", "Write lines that settle differences to a copy of sync.yaml."),
    "plan": ("enerflo_sync.cli.plan", "Decide about every difference; write nothing yet."),
    "apply": ("enerflo_sync.cli.apply", "Make exactly the changes of a plan."),
    "carry": ("enerflo_sync.cli.carry", "Carry approved changes that are still open to the CRM."),
    "reopen": ("enerflo_sync.cli.reopen", "Allow refused changes to be planned again."),
    "ledger": ("enerflo_sync.cli.ledger", "Check that the ledger is as the jobs wrote it."),
    "explain": ("enerflo_sync.cli.explain", "Explain why a record's fields have their values."),
    "retry": ("enerflo_sync.cli.retry", "Let the next plan include parked changes again."),
    "undo": ("enerflo_sync.cli.undo", "Make a plan that reverses an applied plan."),
    "what-if": ("enerflo_sync.cli.what_if", "Show what another mapping would do."),
    "backfill": ("enerflo_sync.cli.backfill", "Read a window of dates, named installs, or everything."),
    "quality": ("enerflo_sync.cli.quality", "Check the change orders that are new or changed."),
    "notify": ("enerflo_sync.cli.notify", "Show the messages due on the routes of sync.yaml."),
    "rebuild": ("enerflo_sync.cli.rebuild", "Derive the mirror again from what is stored."),
    "prune": ("enerflo_sync.cli.prune", "Delete what is older than sync.yaml keeps it."),
    "forget": ("enerflo_sync.cli.forget", "Erase the personal data of customers."),
    "fields": (
        "enerflo_sync.cli.fields",
        "Show the fields that Enerflo really sends, and their use.",
    ),
    "gaps": ("enerflo_sync.cli.gaps", "Show the periods that were not observed completely."),
    "witnesses": ("enerflo_sync.cli.witnesses", "Show which changes the poll and the webhooks saw."),
    "demo": ("enerflo_demo.command", "Run everything once, against a simulated company."),
    "receiver": ("enerflo_sync.cli.receiver", "Accept webhook posts and store them in the drop."),
    "quarantine": ("enerflo_sync.cli.quarantine", "List, replay and dismiss unusable input."),
    "budget": ("enerflo_sync.cli.budget", "See how many requests are left; open a blocked budget."),
    "support-bundle": ("enerflo_sync.cli.support_bundle", "Write a zip file for a helper, without secrets."),
    "sandbox": ("enerflo_sandbox.cli", "Serve a simulated Enerflo company to try everything on."),
}


# Commands that need the extra `sandbox`.
_SIMULATED = {
    name: root
    for name, (module, _) in COMMANDS.items()
    if not (root := module.partition(".")[0]).startswith("enerflo_sync")
}


def installed() -> dict[str, str]:
    """Return the available commands with their help lines, without importing them."""
    return {
        name: line
        for name, (_, line) in COMMANDS.items()
        if name not in _SIMULATED or find_spec(_SIMULATED[name]) is not None
    }


class Commands(TyperGroup):
    """The group of all commands, imported on demand. Its argument types are private to typer."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in the order in which a newcomer needs them."""
        return list(installed())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one command; ``None`` for an unknown name.

        :raises ConfigurationError: the command needs an extra that is not installed.
        """
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in installed():
            with needs_extra("sandbox", "the simulated company", f"enerflo-sync {cmd_name}"):
                import_module(_SIMULATED[cmd_name])
        module = import_module(COMMANDS[cmd_name][0])
        if hasattr(module, "app"):
            group = get_group(module.app)
            group.name = cmd_name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(cmd_name)(module.command)
        return get_command(alone)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is asked for; typer's error about another name has the nearest of these."""
        names: dict[str, Any] = dict.fromkeys(installed())
        self.commands = names
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and their lines, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(installed().items()))
