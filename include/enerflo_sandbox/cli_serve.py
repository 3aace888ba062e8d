"""The command ``enerflo-sync sandbox serve``: the company behind a socket, living and telling if asked to."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from enerflo_sandbox import cli_options as o
from enerflo_sandbox.api import DEFAULT_KEY, RATE_LIMIT, SandboxApi
from enerflo_sandbox.delivery import DropFormat, FileDrop, HttpPost, Target
from enerflo_sandbox.emitter import Emitter, Mess
from enerflo_sandbox.faults import FaultKind, Faults, parse_rate, parse_script
from enerflo_sandbox.living import LivingCompany
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.spelling import Spelling, parse_spelling
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError

_SHARE = {"min": 0.0, "max": 1.0}
Keys = Annotated[list[str] | None, typer.Option(help="API key that is accepted; repeat for more.")]
Webhooks = Annotated[
    str | None,
    typer.Option(
        metavar="URI_OR_URL",
        help="Where webhooks go: a folder or fsspec URI gets files, the URL of a receiver gets posts.",
    ),
]
SecretHeader = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=VALUE",
        envvar="SANDBOX_WEBHOOK_SECRET_HEADER",
        show_envvar=True,
        help="Header sent with each post.",
    ),
]


def serve(
    installs: o.Installs = o.DEFAULT_INSTALLS,
    seed: o.Seed = o.DEFAULT_SEED,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = o.DEFAULT_PORT,
    key: Keys = None,
    no_uuid_key: Annotated[
        list[str] | None, typer.Option(help="Key that gets 403 on a customer by v2 uuid, as some do.")
    ] = None,
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
    respell: Annotated[
        list[str] | None,
        typer.Option(
            help="How it keeps what it is sent: html, blanks, cut=N, emoji, days, echo, keys; repeat."
        ),
    ] = None,
    largest_page: Annotated[
        int | None, typer.Option(min=1, help="Installs a page may hold; a larger one gets 504.")
    ] = None,
    list_lag: Annotated[
        float, typer.Option(min=0, help="Seconds by which the install list lags behind direct reads.")
    ] = 0.0,
    plant: o.Plant = True,
    bad_orders: o.BadOrders = False,
    per_cause: o.PerCause = o.DEFAULT_PER_CAUSE,
    cached_records: Annotated[
        int, typer.Option(min=0, help="Installs kept rendered, about 5 KB each; others are made on demand.")
    ] = o.DEFAULT_CACHED,
    warm: Annotated[bool, typer.Option("--warm/--no-warm", help="Render the records first.")] = True,
    live_every: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Live: make one small change every so many seconds."),
    ] = None,
    webhooks: Webhooks = None,
    webhook_format: Annotated[
        DropFormat, typer.Option(help="How files hold the payloads; mixed draws all of them.")
    ] = DropFormat.RAW,
    webhook_secret_header: SecretHeader = None,
    webhook_seed: Annotated[int, typer.Option(help="Seed of the payloads' shapes and of the mess.")] = 0,
    loss: Annotated[float, typer.Option(help="Share of events that never arrive.", **_SHARE)] = 0.0,
    duplicates: Annotated[float, typer.Option(help="Share that arrives 2 or 3 times.", **_SHARE)] = 0.1,
    delay: Annotated[float, typer.Option(help="Share of copies that come late.", **_SHARE)] = 0.1,
    longest_delay: Annotated[float, typer.Option(min=1, help="The longest lateness in seconds.")] = 60.0,
    reorder: Annotated[float, typer.Option(help="Share that the next one overtakes.", **_SHARE)] = 0.1,
    state: o.State = None,
    as_json: o.Json = False,
) -> None:
    """Serve a company over HTTP until interrupted; its key is sandbox-key unless --key says another.

    With --webhooks it tells what happens as Enerflo does: no event id, no order, real duplicates. Changes by
    --live-every and by callers of the API are told by themselves, those of `sandbox step` with its --emit.
    Example: sandbox serve --webhooks ./drop --live-every 5 --loss 0.05
    """
    faults = _faults(fault, script, fault_seed, slow_seconds)
    causes = per_cause if plant else 0
    world = World(installs, seed, clock=SystemClock(), per_cause=causes, cached_records=cached_records)
    orders = o.plant_orders(world) if bad_orders else 0
    api = SandboxApi(
        world,
        keys=tuple(key or (DEFAULT_KEY,)),
        rate_limit=rate_limit,
        faults=faults,
        spelling=_spelling(respell, fault_seed),
        largest_page=largest_page,
        list_lag=list_lag,
        no_uuid_keys=no_uuid_key or (),
    )
    if webhooks:
        target = _target(webhooks, webhook_format, webhook_secret_header, webhook_seed)
        mess = Mess(loss, duplicates, delay, timedelta(seconds=longest_delay), reorder)
        api.webhooks = Emitter(world, webhook_seed, mess, target)
        api.webhooks.watch()
    if warm:
        _warm(world)
    planted = {"per_cause": world.plants.per_cause, "planted_orders": orders}
    about = {"installs": installs, "seed": seed, **planted}
    _serve(api, (host, port), live_every, about, state, as_json)


def _serve(
    api: SandboxApi,
    address: tuple[str, int],
    live_every: float | None,
    facts: dict[str, int],
    state: Path | None,
    as_json: bool,
) -> None:
    with _listening(api, *address) as server, LivingCompany(api.world, api.webhooks, live_every):
        about = {"url": server.url, "pid": os.getpid(), **facts}
        if state is not None:
            _leave_address(state, about)
        if as_json:
            o.print_json(about)
        else:
            size = f"{facts['installs']} installs (seed {facts['seed']})"
            o.errors.print(f"A company of {size} answers at {server.url}")
        _wait_for_the_end()


def _target(place: str, formats: DropFormat, secret_header: str | None, seed: int) -> Target:
    if not place.startswith(("http://", "https://")):
        return FileDrop(place, formats=formats, rng=random.Random(f"{seed}/webhook-files"))
    headers: dict[str, str] = {}
    if secret_header is not None:
        name, found, value = secret_header.partition("=")
        if not found or not name.strip():
            raise ConfigurationError(
                "the secret header has no name or no value.",
                where="--webhook-secret-header",
                next_step="Write it as NAME=VALUE, such as x-webhook-secret=....",
            )
        headers[name.strip()] = value
    return HttpPost(place, headers)


def _faults(rates: list[str] | None, script: list[str] | None, seed: int, slow_seconds: float) -> Faults:
    try:
        drawn = dict(parse_rate(text) for text in rates or ())
        return Faults(drawn, [parse_script(text) for text in script or ()], seed, slow_seconds)
    except ValueError as error:
        kinds = ", ".join(FaultKind)
        raise ConfigurationError(
            f"{error}.", where="--fault or --script", next_step=f"The kinds are {kinds}."
        ) from error


def _spelling(respell: list[str] | None, seed: int) -> Spelling:
    try:
        return parse_spelling(tuple(respell or ()), seed=seed)
    except ValueError as error:
        raise ConfigurationError(f"{error}.", where="--respell") from error


def _warm(world: World) -> None:
    with o.bars() as bars:
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
    (state / o.ADDRESS_FILE).write_text(json.dumps(about, indent=2) + "\n")
