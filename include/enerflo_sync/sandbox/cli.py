"""The command ``enerflo-sync sandbox``: serve the simulated company, let time pass, make its CRM tables."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import requests
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.sandbox.api import DEFAULT_KEY, RATE_LIMIT, SandboxApi
from enerflo_sync.sandbox.changes import ChangeKind
from enerflo_sync.sandbox.control import PREFIX
from enerflo_sync.sandbox.crm_tables import make_crm_tables
from enerflo_sync.sandbox.faults import FaultKind, Faults, parse_rate, parse_script
from enerflo_sync.sandbox.server import SandboxServer
from enerflo_sync.sandbox.world import World

DEFAULT_INSTALLS = 2_000
DEFAULT_SEED = 7
DEFAULT_PORT = 8787
DEFAULT_PER_CAUSE = 3
DEFAULT_CACHED = 60_000
_ADDRESS_FILE = "sandbox.json"
_TIMEOUT_SECONDS = 30

app = typer.Typer(no_args_is_help=True, help="A simulated Enerflo company to try everything on.")
errors = Console(stderr=True, highlight=False, soft_wrap=True)

Installs = Annotated[int, typer.Option(min=0, help="Size of the company, in installs.")]
Seed = Annotated[int, typer.Option(help="Which company: the same seed and size are the same company.")]
PerCause = Annotated[int, typer.Option(min=0, help="How many planted differences of each cause.")]
Plant = Annotated[
    bool, typer.Option("--plant/--no-plant", help="Whether the company takes part in planted differences.")
]
State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Directory in which the server leaves its address, for `step`."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@app.command("serve")
def serve(
    installs: Installs = DEFAULT_INSTALLS,
    seed: Seed = DEFAULT_SEED,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    key: Annotated[list[str] | None, typer.Option(help="API key that is accepted; repeat for more.")] = None,
    rate_limit: Annotated[int, typer.Option(min=1, help="Requests a minute per key.")] = RATE_LIMIT,
    fault: Annotated[
        list[str] | None,
        typer.Option(help=f"Fault and its share of requests, 504=0.01; of {', '.join(FaultKind)}."),
    ] = None,
    script: Annotated[
        list[str] | None, typer.Option(help="Fault on an exact request, 504@/api/v3/installs#3.")
    ] = None,
    fault_seed: Annotated[int, typer.Option(help="Seed of the faults that come by share.")] = 0,
    slow_seconds: Annotated[float, typer.Option(help="How long a slow answer takes.")] = 30.0,
    largest_page: Annotated[
        int | None, typer.Option(min=1, help="Installs a page may hold; a larger one gets 504.")
    ] = None,
    plant: Plant = True,
    per_cause: PerCause = DEFAULT_PER_CAUSE,
    cached_records: Annotated[
        int, typer.Option(min=0, help="Installs kept rendered, about 5 KB each; others are made on demand.")
    ] = DEFAULT_CACHED,
    warm: Annotated[bool, typer.Option("--warm/--no-warm", help="Render the records first.")] = True,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Serve a company over HTTP until interrupted; its key is sandbox-key unless --key says another."""
    faults = _faults(fault, script, fault_seed, slow_seconds)
    causes = per_cause if plant else 0
    world = World(installs, seed, clock=SystemClock(), per_cause=causes, cached_records=cached_records)
    keys = tuple(key or (DEFAULT_KEY,))
    api = SandboxApi(world, keys=keys, rate_limit=rate_limit, faults=faults, largest_page=largest_page)
    if warm:
        _warm(world)
    with _listening(api, host, port) as server:
        about = {"url": server.url, "pid": os.getpid(), "installs": installs, "seed": seed}
        about["per_cause"] = world.plants.per_cause
        if state is not None:
            _leave_address(state, about)
        if as_json:
            _print_json(about)
        else:
            errors.print(f"A company of {installs} installs (seed {seed}) answers at {server.url}")
        _wait_for_the_end()


@app.command("step")
def step(
    minutes: Annotated[float, typer.Option(min=0, help="How much of the company's time passes.")] = 15,
    events: Annotated[int | None, typer.Option(min=0, help="How many changes; plausible if absent.")] = None,
    kind: Annotated[list[ChangeKind] | None, typer.Option(help="Kinds of change to choose from.")] = None,
    delete_planted: Annotated[
        bool, typer.Option("--delete-planted", help="Delete the installs planted to be deleted, no more.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(envvar="ENERFLO_BASE_URL", help="Address of the running sandbox.")
    ] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Ask a running sandbox to let time pass, and print what changed."""
    base = _read_address(state) if state is not None else url or f"http://127.0.0.1:{DEFAULT_PORT}"
    if delete_planted:
        answer = _control(base, "delete", {"planted": True})
        lines = [f"install_deleted install {install_id}" for install_id in answer["deleted"]]
    else:
        kinds = [one.value for one in kind] if kind else None
        answer = _control(base, "step", {"minutes": minutes, "events": events, "kinds": kinds})
        lines = [_change_line(change) for change in answer["changes"]]
    if as_json:
        _print_json(answer)
        return
    for line in lines or ["nothing changed"]:
        typer.echo(line)


@app.command("crm-tables")
def crm_tables(
    warehouse: Annotated[
        str | None, typer.Option(envvar="WAREHOUSE_URL", show_envvar=True, help="PostgreSQL URL.")
    ] = None,
    installs: Installs = DEFAULT_INSTALLS,
    seed: Seed = DEFAULT_SEED,
    plant: Plant = True,
    per_cause: PerCause = DEFAULT_PER_CAUSE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop crm tables of the same names that are not the sandbox's.")
    ] = False,
    unique_installs: Annotated[
        bool, typer.Option("--unique-installs", help="Key crm.installs; no duplicate is planted then.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the demo's crm tables for the company of this size and seed, with declared differences.

    Drops and makes crm.leads, crm.installs, crm.milestones, crm.notes and crm.change_orders, and lists what
    was planted in sandbox.planted_differences. Touches nothing else.
    """
    if not warehouse:
        raise ConfigurationError("no warehouse is named.", next_step="Set WAREHOUSE_URL or give --warehouse.")
    world = World(installs, seed, clock=SystemClock(), per_cause=per_cause if plant else 0)
    totals = {**world.truth.counts(), "leads": None}
    with _bars() as bars:
        tasks: dict[str, Any] = {}

        def tick(name: str, count: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(f"crm.{name}", total=totals.get(name))
            bars.update(tasks[name], completed=count)

        made = make_crm_tables(
            world, warehouse, replace=replace, allow_duplicates=not unique_installs, on_progress=tick
        )
    if as_json:
        _print_json(made.to_json())
        return
    for name, count in made.rows.items():
        typer.echo(f"crm.{name:<14} {count:>9} rows")
    for cause, count in sorted(made.counts().items()):
        typer.echo(f"planted {cause:<26} {count:>5}")


def _faults(rates: list[str] | None, script: list[str] | None, seed: int, slow_seconds: float) -> Faults:
    try:
        drawn = dict(parse_rate(text) for text in rates or ())
        return Faults(drawn, [parse_script(text) for text in script or ()], seed, slow_seconds)
    except ValueError as error:
        kinds = ", ".join(FaultKind)
        raise ConfigurationError(
            f"{error}.", where="--fault or --script", next_step=f"The kinds are {kinds}."
        ) from error


@contextmanager
def _bars() -> Iterator[Progress]:
    columns = TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:
        yield bars


def _warm(world: World) -> None:
    with _bars() as bars:
        count = min(len(world.installs), world.cached_records)
        task = bars.add_task("rendering installs", total=count)
        for number in world.installs.page(0, count):
            world.rendered(number)
            bars.advance(task)


@contextmanager
def _listening(api: SandboxApi, host: str, port: int) -> Iterator[SandboxServer]:
    try:
        server = SandboxServer(api, host, port)
    except OSError as error:
        raise ConfigurationError(
            f"the address cannot be taken ({error.strerror}).",
            where=f"{host}:{port}",
            next_step="Stop the other program on it, or give --port another number (0 takes a free one).",
        ) from error
    with server:
        yield server


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def _leave_address(state: Path, about: dict[str, Any]) -> None:
    state.mkdir(parents=True, exist_ok=True)
    (state / _ADDRESS_FILE).write_text(json.dumps(about, indent=2) + "\n")


def _read_address(state: Path) -> str:
    try:
        return str(json.loads((state / _ADDRESS_FILE).read_text())["url"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            "no running sandbox has left its address here.",
            where=str(state / _ADDRESS_FILE),
            next_step="Start one with: enerflo-sync sandbox serve --state DIR",
        ) from error


def _control(base: str, route: str, order: dict[str, Any]) -> Any:
    try:
        answer = requests.post(f"{base.rstrip('/')}{PREFIX}{route}", json=order, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise ConfigurationError(
            f"no sandbox took the order ({type(error).__name__}).",
            where=base,
            next_step="Start one with: enerflo-sync sandbox serve, or name it with --url or --state.",
        ) from error


def _change_line(change: dict[str, Any]) -> str:
    names = ("install_id", "milestone_id", "note_id", "change_order_id", "customer_id")
    ids = [f"{name.removesuffix('_id')} {change[name]}" for name in names if name in change]
    return f"{change['at']} {change['kind']} {', '.join(ids)}"


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()
