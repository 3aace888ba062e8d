"""The command ``enerflo-sync sandbox``: serve the simulated company, let time pass, make its CRM tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from enerflo_sandbox import cli_options as o
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.cli_options import DEFAULT_PER_CAUSE
from enerflo_sandbox.cli_serve import serve
from enerflo_sandbox.control import PREFIX
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError

__all__ = ["DEFAULT_PER_CAUSE", "app"]

_TIMEOUT_SECONDS = 30

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A simulated Enerflo company to try everything on.",
)
app.command("serve")(serve)


@app.command("step")
def step(
    minutes: Annotated[float, typer.Option(min=0, help="How much of the company's time passes.")] = 15,
    events: Annotated[int | None, typer.Option(min=0, help="How many changes; plausible if absent.")] = None,
    kind: Annotated[list[ChangeKind] | None, typer.Option(help="Kinds of change to choose from.")] = None,
    delete_planted: Annotated[
        bool, typer.Option("--delete-planted", help="Delete the installs planted to be deleted, no more.")
    ] = False,
    finish_orders: Annotated[
        bool,
        typer.Option("--finish-orders", help="Give planted change orders their last status, no more."),
    ] = False,
    url: Annotated[
        str | None, typer.Option(envvar="ENERFLO_BASE_URL", help="Address of the running sandbox.")
    ] = None,
    emit: Annotated[
        bool, typer.Option("--emit", help="Tell it by webhooks; without, only a poll can find out.")
    ] = False,
    state: o.State = None,
    as_json: o.Json = False,
) -> None:
    """Ask a running sandbox to let time pass, and print what changed.

    With --emit (on a sandbox served with --webhooks) the webhooks that are due have been sent when this ends;
    GET /_sandbox/webhooks lists what was sent, lost or refused, and says how many are still to come.
    """
    base = _read_address(state) if state is not None else url or f"http://127.0.0.1:{o.DEFAULT_PORT}"
    if delete_planted:
        answer = _control(base, "delete", {"planted": True, "emit": emit})
        lines = [f"install_deleted install {install_id}" for install_id in answer["deleted"]]
    elif finish_orders:
        answer = _control(base, "orders", {"emit": emit})
        lines = [f"{answer['finished']} planted change orders have their last status"]
    else:
        kinds = [one.value for one in kind] if kind else None
        order = {"minutes": minutes, "events": events, "kinds": kinds, "emit": emit}
        answer = _control(base, "step", order)
        lines = [_change_line(change) for change in answer["changes"]]
    if as_json:
        o.print_json(answer)
        return
    for line in lines or ["nothing changed"]:
        typer.echo(line)
    if emit:
        typer.echo(f"{answer['events']} webhook events, {answer['pending']} copies still to come")


@app.command("crm-tables")
def crm_tables(
    warehouse: Annotated[
        str | None, typer.Option(envvar="WAREHOUSE_URL", show_envvar=True, help="PostgreSQL URL.")
    ] = None,
    installs: o.Installs = o.DEFAULT_INSTALLS,
    seed: o.Seed = o.DEFAULT_SEED,
    plant: o.Plant = True,
    bad_orders: o.BadOrders = False,
    per_cause: o.PerCause = DEFAULT_PER_CAUSE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop crm tables of the same names that are not the sandbox's.")
    ] = False,
    unique_installs: Annotated[
        bool, typer.Option("--unique-installs", help="Key crm.installs; no duplicate is planted then.")
    ] = False,
    as_json: o.Json = False,
) -> None:
    """Make the demo's crm tables for the company of this size and seed, with declared differences.

    Drops and makes crm.leads, crm.installs, crm.milestones, crm.notes and crm.change_orders, and lists what
    was planted in sandbox.planted_differences. Touches nothing else.
    """
    if not warehouse:
        raise ConfigurationError("no warehouse is named.", next_step="Set WAREHOUSE_URL or give --warehouse.")
    world = World(installs, seed, clock=SystemClock(), per_cause=per_cause if plant else 0)
    if bad_orders:
        o.plant_orders(world)
    totals = {**world.truth.counts(), "leads": None}
    with o.bars() as bars:
        tasks: dict[str, Any] = {}

        def tick(name: str, count: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(f"crm.{name}", total=totals.get(name))
            bars.update(tasks[name], completed=count)

        made = make_crm_tables(
            world, warehouse, replace=replace, allow_duplicates=not unique_installs, on_progress=tick
        )
    if as_json:
        o.print_json(made.to_json())
        return
    for name, count in made.rows.items():
        typer.echo(f"crm.{name:<14} {count:>9} rows")
    for cause, count in sorted(made.counts().items()):
        typer.echo(f"planted {cause:<26} {count:>5}")


def _read_address(state: Path) -> str:
    try:
        return str(json.loads((state / o.ADDRESS_FILE).read_text())["url"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            "no running sandbox has left its address here.",
            where=str(state / o.ADDRESS_FILE),
            next_step="Start one with: enerflo-sync sandbox serve --state DIR",
        ) from error


def _control(base: str, route: str, order: dict[str, Any]) -> Any:
    try:
        answer = requests.post(f"{base.rstrip('/')}{PREFIX}{route}", json=order, timeout=_TIMEOUT_SECONDS)
        if answer.status_code == 422:
            raise ConfigurationError(str(answer.json()["message"]), where=base)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"no sandbox took the order ({type(error).__name__}).",
            where=base,
            next_step="Start one with: enerflo-sync sandbox serve, or name it with --url or --state.",
        ) from error


def _change_line(change: dict[str, Any]) -> str:
    names = ("install_id", "milestone_id", "note_id", "change_order_id", "customer_id")
    ids = [f"{name.removesuffix('_id')} {change[name]}" for name in names if name in change]
    return f"{change['at']} {change['kind']} {', '.join(ids)}"
