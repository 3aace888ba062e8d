"""``enerflo-sync init``: write a commented sync.yaml to start with, its tables drafted from a warehouse."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from enerflo_sync.cli.output import Json, console, print_json
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.reconcile.draft.draft import Draft, draft, not_drafted
from enerflo_sync.reconcile.draft.drafted import DraftedTable
from enerflo_sync.shipped import CONFIG_VARIABLE, find_config, shipped
from enerflo_sync.warehouse.engine import warehouse_engine, warehouse_errors

# Editors find the schema beside the file, and complete and validate by it.
_FILES = ("sync.yaml", "sync.schema.json", "account.schema.json")

Folder = Annotated[Path, typer.Argument(help="The folder; created if missing.")]


Address = Annotated[
    str | None,
    typer.Option(
        "--warehouse-url",
        metavar="URL",
        help="Draft the tables from this warehouse: postgresql://user:password@host:5432/database; by default"
        " WAREHOUSE_URL, if set. The warehouse is only read, and its address is not written into the file.",
    ),
]


Schema = Annotated[
    str | None,
    typer.Option(
        "--crm",
        metavar="SCHEMA",
        help="Draft only tables of this schema of the warehouse; by default all that the role can read.",
    ),
]


def command(
    folder: Folder = Path(), crm: Schema = None, warehouse_url: Address = None, as_json: Json = False
) -> None:
    """Write a commented sync.yaml, and the schema by which editors validate it.

    With a warehouse, the tables are drafted: which of them hold Enerflo's records, and how each column is
    compared. Each line has its reason; a line that is not certain is written as a comment. Run `poll` first:
    without Enerflo's records in the mirror, only the names of columns can be compared.

    It starts in report mode, which writes to neither side. An existing file is never replaced.
    """
    paths = [folder / name for name in _FILES]
    if (there := next((path for path in paths if path.exists()), None)) is not None:
        raise ConfigurationError(
            "the file is there already.", where=str(there), next_step="Edit it, or name another folder."
        )
    drafted = _drafted(warehouse_url, crm)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copyfile(shipped(path.name), path)
        if drafted is not None:
            paths[0].write_text(drafted.text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be written ({error.strerror}).",
            where=str(folder),
            next_step="Name a folder that you may write.",
        ) from None
    _tell(paths, drafted, as_json)


def _drafted(warehouse_url: str | None, schema: str | None) -> Draft | None:
    """Return the draft of the warehouse that is named; None without one.

    A warehouse that only the environment names, and that cannot be read, is a remark: the file is wanted. It
    is an error if a schema of it is named.
    """
    url = warehouse_url or os.environ.get("WAREHOUSE_URL")
    if not url and schema is None:
        return None
    if not url:
        raise ConfigurationError(
            "no warehouse is named.", where="--crm", next_step="Set WAREHOUSE_URL, or add --warehouse-url."
        )
    try:
        engine = warehouse_engine(url, application="enerflo-sync init")
        try:
            with warehouse_errors("init"), engine.connect() as connection, connection.begin():
                connection.exec_driver_sql("set transaction read only")
                return draft(connection, schema)
        finally:
            engine.dispose()
    except EnerfloSyncError as error:
        if warehouse_url or schema is not None:
            raise
        return not_drafted(str(error))


def _tell(paths: list[Path], drafted: Draft | None, as_json: bool) -> None:
    config = paths[0]
    is_found = find_config(os.environ).resolve() == config.resolve()
    tables = drafted.tables if drafted is not None else ()
    remarks = drafted.remarks if drafted is not None else ()
    if as_json:
        told = {} if drafted is None else {"tables": [_as_dict(one) for one in tables], "remarks": remarks}
        print_json({"written": [str(path) for path in paths], "is_found": is_found, **told})
        return
    if tables:
        console.print(f"Wrote {config}, with tables drafted from the warehouse: check each line.")
        for one in tables:
            console.print(f"  {one.name}: {one.about}", markup=False)
    else:
        console.print(f"Wrote {config}: say in it where your CRM's tables are.")
    for remark in remarks:
        console.print(f"  {remark}", markup=False)
    if not is_found:
        console.print(f"Let it be found: export {CONFIG_VARIABLE}={config.resolve()}")
    console.print("Then check it: enerflo-sync doctor")


def _as_dict(table: DraftedTable) -> dict[str, object]:
    return {
        "table": table.name,
        "of": table.kind,
        "options": dict(table.options),
        "suggestions": [dict(one.option) for one in table.suggestions],
        "refused": table.refused or None,
    }
