"""``enerflo-sync demo``: the whole product at work, against a simulated company."""

from __future__ import annotations

from typing import Annotated

import typer

from enerflo_demo import run_demo
from enerflo_demo.crm import CrmPlace


def command(
    port: Annotated[int, typer.Option(help="Port of the Airflow UI.")] = 8080,
    installs: Annotated[int, typer.Option(help="Size of the simulated company.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Another seed makes another company.")] = 7,
    crm: Annotated[
        CrmPlace, typer.Option(help="Where the CRM's tables are; mariadb starts a private server.")
    ] = CrmPlace.WAREHOUSE,
    once: Annotated[bool, typer.Option("--once", help="Stop everything after the report is there.")] = False,
) -> None:
    """Start a simulated company, PostgreSQL and Airflow, run the DAGs, and serve the report in Airflow."""
    run_demo(port=port, installs=installs, seed=seed, once=once, place=crm)
