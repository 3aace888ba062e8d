"""``enerflo-sync support-bundle``: a file for somebody who helps, without secrets or personal data."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from enerflo_sync.cli.doctor import as_dict, checks
from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.support_bundle import write_support_bundle


def command(
    account: Account = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The zip file; it must not exist yet. Default: a dated name.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a zip file for a person who helps you.

    Versions, the configuration's shape, the last runs, sizes of tables, clock skew, schema revision, counts
    by state, and the doctor's findings. No secret, no value of a record and no name of a person is in it:
    texts of sync.yaml that are not plain names are left out. A part that cannot be read contains the reason
    instead. Changes nothing.
    """
    context = open_account(account, os.environ)
    path = out or Path(f"enerflo-sync-support-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip")
    try:
        bundle = write_support_bundle(
            context, path, lambda: [as_dict(check) for check in checks(context, None)], os.environ
        )
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be written: {os.strerror(error.errno or 0).lower()}.",
            where=str(path),
            next_step="Name another one with --out.",
        ) from None
    missing = {name: why for name, why in bundle.parts.items() if why}
    if as_json:
        print_json({"path": str(path), "parts": sorted(bundle.parts), "not_made": missing})
    else:
        console.print(f"Wrote {path}: {', '.join(bundle.parts)}.", markup=False)
        for name, why in missing.items():
            console.print(f"  {name} could not be made: {why}", markup=False)
        console.print("Look into it before you send it.")
    finish(Exit.DONE)
