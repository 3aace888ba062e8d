"""All DAGs of all accounts, for a DAG file of three lines.

.. code-block:: python

    from enerflo_airflow.dags import all_dags

    globals().update(all_dags())

The wiring is in the repository's ``dags/``, one file per job; the wheel contains those files here.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from enerflo_sync.errors import ConfigurationError

DISTRIBUTION = "enerflo-sync"
_HERE = Path(__file__).resolve().parent
# In a checkout, the files are in the folder that Airflow reads.
_IN_CHECKOUT = _HERE.parents[2] / "dags"


def all_dags() -> dict[str, Any]:
    """Return the DAGs of every account in ``sync.yaml``, by id.

    Each call reads ``sync.yaml`` again, as Airflow expects when it parses a DAG file again.

    :raises ConfigurationError: ``sync.yaml`` cannot be read or has mistakes; or the caller's folder has
        copies of the wiring files, so that Airflow would have each DAG twice, perhaps in two versions.
    """
    _require_no_copies(Path(sys._getframe(1).f_code.co_filename))
    return {dag.dag_id: dag for file in wiring_files() for dag in _executed(file).dags}


def _require_no_copies(caller: Path) -> None:
    """Refuse copies of the wiring files beside a file that calls :func:`all_dags`.

    Airflow parses each file by itself, so it would not see that two of them have the same DAGs, and would
    take now the one and now the other.
    """
    folder = caller.parent
    copies = [
        file.name
        for file in wiring_files()
        if file.parent != folder and (copy := folder / file.name) != caller and _has_dags(copy)
    ]
    if copies:
        raise ConfigurationError(
            f"found {', '.join(copies)}, expected the DAGs of enerflo-sync once: {caller.name} has all of"
            f" them, of version {version(DISTRIBUTION)}.",
            where=str(folder),
            next_step=f"Remove the copied files, or {caller.name}.",
        )


def _has_dags(file: Path) -> bool:
    # docs/accounts.md proposes a file of one of these names that has no DAG.
    return file.is_file() and "@dag(" in file.read_text(encoding="utf-8", errors="replace")


def wiring_files() -> list[Path]:
    """Return the wiring files, one per job."""
    return sorted(_HERE.glob("enerflo_*.py")) or sorted(_IN_CHECKOUT.glob("enerflo_*.py"))


def _executed(file: Path) -> ModuleType:
    """Execute a file as a new module: an imported one would keep the accounts of its first import."""
    spec = importlib.util.spec_from_file_location(f"{__name__}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
