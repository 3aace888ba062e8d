"""Which ``sync.yaml`` counts, and the files that the package brings along. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CONFIG_VARIABLE = "ENERFLO_SYNC_CONFIG"
# In a checkout, and in a folder in which `enerflo-sync init` was run.
_NEARBY = (Path("include/config/sync.yaml"), Path("sync.yaml"))

_PACKAGED = Path(__file__).resolve().parent / "default_config"
# A checkout has them beside the package, where a data team edits them.
_IN_CHECKOUT = Path(__file__).resolve().parents[1] / "config"


def shipped(name: str) -> Path:
    """Return the path of a file that the package brings along, such as ``sync.yaml``."""
    return (_PACKAGED if _PACKAGED.is_dir() else _IN_CHECKOUT) / name


def is_packaged(path: Path) -> bool:
    """Return whether a file is part of the installed package, which nobody edits."""
    return path.resolve().is_relative_to(_PACKAGED)


def named_config(environ: Mapping[str, str]) -> Path:
    """Return the path of sync.yaml wherever a process runs: ``ENERFLO_SYNC_CONFIG``, or the shipped one."""
    return Path(environ.get(CONFIG_VARIABLE) or shipped("sync.yaml"))


def find_config(environ: Mapping[str, str]) -> Path:
    """Return the path of sync.yaml for a command.

    ``ENERFLO_SYNC_CONFIG``, else ``include/config/sync.yaml`` or ``sync.yaml`` in the working folder, else
    the one that was shipped.
    """
    if environ.get(CONFIG_VARIABLE):
        return named_config(environ)
    return next((path for path in _NEARBY if path.is_file()), shipped("sync.yaml"))
