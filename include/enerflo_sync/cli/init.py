"""``enerflo-sync init``: write a commented sync.yaml to start with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from enerflo_sync.cli.output import Json, console, print_json
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.shipped import CONFIG_VARIABLE, find_config, shipped

# Editors find the schema beside the file, and complete and validate by it.
_FILES = ("sync.yaml", "sync.schema.json")

Folder = Annotated[Path, typer.Argument(help="The folder; created if missing.")]


def command(folder: Folder = Path(), as_json: Json = False) -> None:
    """Write a commented sync.yaml, and the schema by which editors validate it.

    It starts in report mode, which writes to neither side. An existing file is never replaced.
    """
    paths = [folder / name for name in _FILES]
    if (there := next((path for path in paths if path.exists()), None)) is not None:
        raise ConfigurationError(
            "the file is there already.", where=str(there), next_step="Edit it, or name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copyfile(shipped(path.name), path)
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be written ({error.strerror}).",
            where=str(folder),
            next_step="Name a folder that you may write.",
        ) from None
    config = paths[0]
    is_found = find_config(os.environ).resolve() == config.resolve()
    if as_json:
        print_json({"written": [str(path) for path in paths], "is_found": is_found})
        return
    console.print(f"Wrote {config}: say in it where your CRM's tables are.")
    if not is_found:
        console.print(f"Let it be found: export {CONFIG_VARIABLE}={config.resolve()}")
    console.print("Then check it: enerflo-sync doctor")
