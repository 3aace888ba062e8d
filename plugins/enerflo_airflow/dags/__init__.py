"""All DAGs of all accounts, for a DAG file of three lines.

.. code-block:: python

    from enerflo_airflow.dags import all_dags

    globals().update(all_dags())

The wiring is in the repository's ``dags/``, one file per job; the wheel contains those files here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

_HERE = Path(__file__).resolve().parent
# In a checkout, the files are in the folder that Airflow reads.
_IN_CHECKOUT = _HERE.parents[2] / "dags"


def all_dags() -> dict[str, Any]:
    """Return the DAGs of every account in ``sync.yaml``, by id.

    Each call reads ``sync.yaml`` again, as Airflow expects when it parses a DAG file again.

    :raises ConfigurationError: ``sync.yaml`` cannot be read or has mistakes.
    """
    return {dag.dag_id: dag for file in wiring_files() for dag in _executed(file).dags}


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
