"""What the commands of ``enerflo-sync sandbox`` share: options, defaults, progress bars, output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from enerflo_sandbox.world import World
from enerflo_sync.errors import ConfigurationError

DEFAULT_INSTALLS = 2_000
DEFAULT_SEED = 7
DEFAULT_PORT = 8787
DEFAULT_PER_CAUSE = 3
DEFAULT_CACHED = 60_000
ADDRESS_FILE = "sandbox.json"

errors = Console(stderr=True, highlight=False, soft_wrap=True)

Installs = Annotated[int, typer.Option(min=0, help="Size of the company, in installs.")]
Seed = Annotated[int, typer.Option(help="Which company: the same seed and size are the same company.")]
PerCause = Annotated[int, typer.Option(min=0, help="How many planted differences of each cause.")]
Plant = Annotated[
    bool, typer.Option("--plant/--no-plant", help="Whether the company takes part in planted differences.")
]
BadOrders = Annotated[
    bool,
    typer.Option(
        "--bad-orders/--no-bad-orders",
        help="Whether change orders are planted: for each check one that fails it, and good ones.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Directory in which the server leaves its address, for `step`."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@contextmanager
def bars() -> Iterator[Progress]:
    """Show progress bars on a terminal, and nothing elsewhere."""
    columns = TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as shown:
        yield shown


def plant_orders(world: World) -> int:
    """Plant the declared change orders, and return how many.

    :raises ConfigurationError: the company is too small for them.
    """
    planted = world.plant_orders()
    if not planted:
        raise ConfigurationError(
            f"a company of {world.era.installs} installs is too small for the planted change orders.",
            where="--bad-orders",
            next_step="Give --installs 200 or more.",
        )
    return planted


def print_json(value: object) -> None:
    """Write ``value`` as indented JSON to standard output at once."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()
