"""All DAGs of all accounts, for a DAG file of three lines.

.. code-block:: python

    from enerflo_airflow.dags import all_dags

    globals().update(all_dags())

The wiring itself stands in the repository's ``dags/``, one file a job; the wheel has those files here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

_HERE = Path(__file__).resolve().parent
# In a checkout the files are where Airflow reads them.
_IN_CHECKOUT = _HERE.parents[2] / "dags"


def all_dags() -> dict[str, Any]:
    """Return the DAGs of every account in ``sync.yaml``, by their ids.

    Each call reads ``sync.yaml`` again, as Airflow does when it parses a DAG file again.

    :raises ConfigurationError: ``sync.yaml`` cannot be read or holds mistakes.
    """
    return {dag.dag_id: dag for file in wiring_files() for dag in _executed(file).dags}


def wiring_files() -> list[Path]:
    """Return the files with the wiring of one job each."""
    return sorted(_HERE.glob("enerflo_*.py")) or sorted(_IN_CHECKOUT.glob("enerflo_*.py"))


def _executed(file: Path) -> ModuleType:
    """Return a module, executed anew: an imported one would keep the accounts of its first time."""
    spec = importlib.util.spec_from_file_location(f"{__name__}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
